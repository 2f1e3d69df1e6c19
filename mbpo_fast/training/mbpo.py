"""Model-based policy optimization (Janner et al. 2019, algorithm 2): the only file that knows the order.

With real_ratio 1 the same loop runs without a model: the control of every comparison.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.errors import UsageError
from mbpo_fast.models.oracle import Oracle
from mbpo_fast.ops import Stream, random_integers
from mbpo_fast.training.build import ModelParts, Parts
from mbpo_fast.training.loop import Loop, Metrics
from mbpo_fast.training.schedules import Every, Ratio, rollout_length
from mbpo_fast.training.timer import PhaseTimer

START_CHUNK = 512
"""Branches rolled out together: with 36 frames of context each, 4096 would fill a gigabyte."""


class Trainer(Loop):
    """The loop over built parts."""

    def __init__(self, parts: Parts, timer: PhaseTimer) -> None:
        super().__init__(parts.config, parts.collector, parts.agent, timer)
        self.parts = parts
        self.rows_at_log = (0, 0)
        self.model_metrics: Metrics = {}
        self.gate_opened_at: int | None = None

    def _iterate(self) -> None:
        """Act and store; fit and imagine where it is due; update the policy."""
        collector, starts = self.collector, self.config.training.learning_starts
        before = collector.env_steps
        with self.timer("act"):
            self._act()
        after = collector.env_steps
        if after < starts:
            return
        fit_due = Every(self.config.model.train_freq)
        if self.parts.world and (fit_due(before, after) or before < starts):
            self._imagine(self.parts.world)
        updates_due = Ratio(self.config.training.updates_per_step, start=starts)
        with self.timer("update"):
            for _ in range(updates_due(before, after)):
                self._update()

    def _act(self) -> None:
        """One step of every environment by the exploring policy, stored."""
        collector, agent = self.parts.collector, self.parts.agent
        random_phase = collector.env_steps < self.config.training.learning_starts
        epsilon = 1.0 if random_phase else self._epsilon()
        action = agent.act(
            collector.obs, epsilon, seed=self.config.seed, stream=Stream.EXPLORE, step=collector.iterations
        )
        collector.step(action)

    def _epsilon(self) -> float:
        return self.parts.agent.epsilon(self.parts.collector.env_steps - self.config.training.learning_starts)

    def _imagine(self, world: ModelParts) -> None:
        """Fit the model, judge it, and if it passes roll out branches from real states."""
        with self.timer("model"):
            metrics = world.trainer.fit(self.parts.replay)
        world.gate.judge(metrics)
        self.model_metrics = metrics | {"gate_open": float(world.gate.open)}
        if not world.gate.open:
            return
        if self.gate_opened_at is None:
            self.gate_opened_at = self.parts.collector.env_steps
        with self.timer("rollout"):
            self._roll_out(world)

    def _roll_out(self, world: ModelParts) -> None:
        training = self.config.training
        horizon = rollout_length(
            self.parts.collector.env_steps,
            training.model_rollout_length,
            training.rollout_schedule,
            training.epoch_length,
        )
        starts = self._starts(world)
        for first in range(0, len(starts), START_CHUNK):
            ids = starts[first : first + START_CHUNK]
            if isinstance(world.model, Oracle):
                world.model.begin(ids, horizon)
            world.engine.run(
                self.parts.replay.stacks(ids, self.config.model.context),
                self.parts.agent,
                world.model,
                world.buffer,
                horizon=horizon,
                epsilon=training.rollout_epsilon,
            )
        self.model_metrics |= {"rollout_length": float(horizon)} | world.engine.metrics

    def _starts(self, world: ModelParts) -> NDArray[np.int64]:
        """Ids of the real transitions where branches begin, drawn with replacement."""
        ids = self.parts.replay.valid_ids(1, context=self.config.model.context)
        count = self.config.training.model_rollout_batch_size
        if isinstance(world.model, Oracle):
            ids = world.model.with_state(ids)
            count = min(count, self.config.model.oracle.starts)
            if not len(ids):
                raise UsageError("model.oracle.every: expected a kept state in the replay buffer, found none")
        rows = random_integers(self.config.seed, Stream.START_STATES, world.trainer.rounds, count, len(ids))
        return ids[rows]

    def _update(self) -> None:
        """One policy update on a batch of real and, while the gate is open, synthetic rows."""
        parts, agent = self.parts, self.parts.agent
        gate_open = parts.world is not None and parts.world.gate.open
        batch = parts.sampler.sample(agent.n_step, gamma=agent.gamma, use_model=gate_open)
        self._note(agent.update(batch))
        if agent.priorities is not None:
            parts.sampler.update_priorities(batch, agent.priorities.cpu().numpy())

    def _own_metrics(self) -> Metrics:
        """Exploration, rows and the newest judgement of the model."""
        metrics = {"rollout/exploration_rate": self._epsilon()} | self._row_metrics()
        return metrics | {f"model/{name}": value for name, value in self.model_metrics.items()}

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
        """What imagines; without a model nothing."""
        return f"rollouts: {self.parts.world.engine.description}" if self.parts.world else ""

    @property
    def gate_verdict(self) -> str:
        """What the world model's gate says; without a model, that there is none."""
        return self.parts.world.gate.verdict if self.parts.world else "no model"

    def summary(self) -> dict[str, Any]:
        """Rows learned from, and how the gate decided."""
        return {
            "synthetic_rows": self.parts.sampler.synthetic_rows,
            "real_rows": self.parts.sampler.real_rows,
            "gate_opened_at": self.gate_opened_at,
            "gate_verdict": self.gate_verdict,
        }

    def state_dict(self) -> dict[str, Any]:
        """The parts and the sums of the interval under way."""
        return super().state_dict() | {
            "parts": self.parts.state_dict(),
            "rows_at_log": list(self.rows_at_log),
            "model_metrics": self.model_metrics,
            "gate_opened_at": self.gate_opened_at,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self.parts.load_state_dict(state["parts"])
        synthetic, real = state["rows_at_log"]
        self.rows_at_log = (int(synthetic), int(real))
        self.model_metrics = {name: float(value) for name, value in state["model_metrics"].items()}
        self.gate_opened_at = state["gate_opened_at"]
