"""Model-based policy optimization (Janner et al. 2019, algorithm 2): the only file that knows the order.

With real_ratio 1 the same loop runs without a model: the control of every comparison.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mbpo_fast.ops import Stream
from mbpo_fast.training.build import Parts
from mbpo_fast.training.imagination import Imagination
from mbpo_fast.training.loop import Loop, Metrics, diverged
from mbpo_fast.training.schedules import Every, Ratio
from mbpo_fast.training.timer import PhaseTimer


class Trainer(Loop):
    """The loop over built parts."""

    def __init__(self, parts: Parts, timer: PhaseTimer) -> None:
        super().__init__(parts.config, parts.collector, parts.agent, timer)
        self.parts = parts
        self.imagination = (
            Imagination(parts.config, parts.collector, parts.replay, parts.agent, parts.world, timer)
            if parts.world
            else None
        )
        self.rows_at_log = (0, 0)
        # Agent steps before and after the newest iteration: overlapped, the next one learns from it.
        self.owed = (0, 0)

    def _iterate(self) -> None:
        """Act, step, learn what is due; overlapped, learn from the last step while this one is made.

        Either way the action comes before the updates, so it never depends on how fast anything runs.
        """
        before = self.collector.env_steps
        with self.timer("act"):
            self._begin_step()
        if self.config.training.overlap:
            self._learn(*self.owed)
        with self.timer("act"):
            self.collector.end_step()
        self.owed = (before, self.collector.env_steps)
        if not self.config.training.overlap:
            self._learn(*self.owed)

    def _begin_step(self) -> None:
        """Every environment's next step by the exploring policy, under way."""
        collector, agent = self.parts.collector, self.parts.agent
        random_phase = collector.env_steps < self.config.training.learning_starts
        epsilon = 1.0 if random_phase else self._epsilon()
        action = agent.act(
            collector.obs, epsilon, seed=self.config.seed, stream=Stream.EXPLORE, step=collector.iterations
        )
        collector.begin_step(action)

    def _epsilon(self) -> float:
        return self.parts.agent.epsilon(self.parts.collector.env_steps - self.config.training.learning_starts)

    def _learn(self, before: int, after: int) -> None:
        """Fit and imagine where it is due, then update the policy, for the steps from `before` to `after`."""
        starts = self.config.training.learning_starts
        if after < starts:
            return
        fit_due = Every(self.config.model.train_freq)
        if self.imagination and (fit_due(before, after) or before < starts):
            self._imagine(self.imagination)
        updates_due = Ratio(self.config.training.updates_per_step, start=starts)
        with self.timer("update"):
            for _ in range(updates_due(before, after)):
                self._update()

    def _imagine(self, imagination: Imagination) -> None:
        """Fit the model, judge it, and if it passes roll out branches from real states."""
        training = self.config.training
        self.refuse_divergence()
        imagination.fit(self.on_check)
        if imagination.gate_open:
            imagination.roll_out(
                training.model_rollout_batch_size,
                draw=imagination.world.trainer.rounds,
                epsilon=training.rollout_epsilon,
            )

    def _update(self) -> None:
        """One policy update on a batch of real and, while the gate is open, synthetic rows."""
        parts, agent = self.parts, self.parts.agent
        gate_open = self.imagination is not None and self.imagination.gate_open
        batch = parts.sampler.sample(
            agent.n_step, gamma=agent.gamma, use_model=gate_open, future_steps=agent.future_steps
        )
        self._note(agent.update(batch))
        if agent.priorities is not None:
            priorities = agent.priorities.cpu().numpy()
            if not np.isfinite(priorities).all():
                raise diverged("TD error", float("nan"), parts.collector.env_steps, self.config)
            parts.sampler.update_priorities(batch, priorities)

    def _own_metrics(self) -> Metrics:
        """Exploration, rows and the newest judgement of the model."""
        metrics = {"rollout/exploration_rate": self._epsilon()} | self._row_metrics()
        judged = self.imagination.metrics if self.imagination else {}
        return metrics | {f"model/{name}": value for name, value in judged.items()}

    def _row_metrics(self) -> Metrics:
        """Rows learned from, in all and as a share of the interval."""
        sampler, replay = self.parts.sampler, self.parts.replay
        rows = (sampler.synthetic_rows, sampler.real_rows)
        synthetic, real = (now - then for now, then in zip(rows, self.rows_at_log, strict=True))
        self.rows_at_log = rows
        metrics = {
            "data/synthetic_rows": float(rows[0]),
            "data/real_rows": float(rows[1]),
            "data/replay_size": float(len(replay)),
            "data/replay_fill": (replay.total - replay.oldest) / replay.slots,
        }
        if synthetic + real:
            metrics["data/synthetic_share"] = synthetic / (synthetic + real)
        if self.parts.world is not None:
            branches = self.parts.world.buffer
            metrics["data/model_buffer_size"] = float(branches.num_transitions)
            metrics["data/model_buffer_fill"] = branches.size / branches.capacity
        return metrics

    def buffers(self) -> dict[str, Any]:
        """The buffers that a checkpoint stores, by the names of their segments."""
        return self.parts.buffers()

    @property
    def opening(self) -> str:
        """Where frames lie, and what imagines."""
        frames = f"frames: {self.parts.frames.description}"
        return f"{frames}; rollouts: {self.parts.world.engine.description}" if self.parts.world else frames

    @property
    def gate_verdict(self) -> str:
        """What the world model's gate says; without a model, that there is none."""
        return self.parts.world.gate.verdict if self.parts.world else "no model"

    def summary(self) -> dict[str, Any]:
        """Rows learned from, and how the gate decided."""
        return {
            "synthetic_rows": self.parts.sampler.synthetic_rows,
            "real_rows": self.parts.sampler.real_rows,
            "gate_opened_at": self.imagination.gate_opened_at if self.imagination else None,
            "gate_verdict": self.gate_verdict,
        }

    def state_dict(self) -> dict[str, Any]:
        """The parts and the sums of the interval under way."""
        return super().state_dict() | {
            "parts": self.parts.state_dict(),
            "rows_at_log": list(self.rows_at_log),
            "owed": list(self.owed),
            "imagination": self.imagination.state_dict() if self.imagination else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self.parts.load_state_dict(state["parts"])
        (synthetic, real), (before, after) = state["rows_at_log"], state["owed"]
        self.rows_at_log, self.owed = (int(synthetic), int(real)), (int(before), int(after))
        if self.imagination:
            self.imagination.load_state_dict(state["imagination"])
