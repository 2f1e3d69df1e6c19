"""Model-based policy optimization (Janner et al. 2019, algorithm 2): the only file that knows the order.

With real_ratio 1 the same loop runs without a model: the control of every comparison.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbpo_fast.errors import UsageError
from mbpo_fast.ops import Stream, random_integers
from mbpo_fast.training.build import ModelParts, Parts
from mbpo_fast.training.schedules import Every, Ratio, rollout_length
from mbpo_fast.training.timer import PhaseTimer

Metrics = dict[str, float]

START_CHUNK = 512
"""Branches rolled out together: with 36 frames of context each, 4096 would fill a gigabyte."""


class Trainer:
    """The loop over built parts; what happens outside of it (files, screens) comes in as callbacks."""

    def __init__(self, parts: Parts, timer: PhaseTimer) -> None:
        self.parts = parts
        self.config = parts.config
        self.timer = timer
        self.losses: dict[str, Tensor] = {}
        self.updates_since_log = 0
        self.rows_at_log = (0, 0)
        self.model_metrics: Metrics = {}
        self.gate_opened_at: int | None = None

    def train(
        self,
        *,
        on_log: Callable[[int, Metrics], None],
        on_save: Callable[[int], None],
        on_evaluate: Callable[[], Metrics],
        on_video: Callable[[], None] = lambda: None,
        interrupted: Callable[[], bool],
    ) -> str:
        """Run until the budget, the target score or an interruption; returns which it was."""
        config, collector, timer = self.config, self.parts.collector, self.timer
        training, starts = config.training, config.training.learning_starts
        updates_due = Ratio(training.updates_per_step, start=starts)
        fit_due, log_due = Every(config.model.train_freq), Every(config.log.every)
        evaluate_due, save_due = Every(config.evaluation.every), Every(config.checkpoint.every)
        video_due = Every(config.video.every)
        while not (verdict := self._finished() or ("interrupted" if interrupted() else "")):
            before, games = collector.env_steps, collector.games
            with timer("act"):
                self._act()
            after = collector.env_steps
            if after >= starts:
                if self.parts.world and (fit_due(before, after) or before < starts):
                    self._imagine(self.parts.world)
                with timer("update"):
                    for _ in range(updates_due(before, after)):
                        self._update()
            if log_due(before, after):
                on_log(after, self.take_metrics())
            if video_due(games, collector.games):
                with timer("video"):
                    on_video()
            if evaluate_due(before, after):
                with timer("evaluate"):
                    on_log(after, on_evaluate())
            if save_due(before, after):
                with timer("checkpoint"):
                    on_save(after)
        on_save(collector.env_steps)
        return verdict

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
        ids = self.parts.replay.valid_ids(1, context=self.config.model.context)
        rows = random_integers(
            self.config.seed,
            Stream.START_STATES,
            world.trainer.rounds,
            training.model_rollout_batch_size,
            len(ids),
        )
        for first in range(0, len(rows), START_CHUNK):
            world.engine.run(
                self.parts.replay.stacks(ids[rows[first : first + START_CHUNK]], self.config.model.context),
                self.parts.agent,
                world.model,
                world.buffer,
                horizon=horizon,
                epsilon=training.rollout_epsilon,
            )
        self.model_metrics |= {"rollout_length": float(horizon)} | world.engine.metrics

    def _update(self) -> None:
        """One policy update on a batch of real and, while the gate is open, synthetic rows."""
        parts, agent = self.parts, self.config.agent
        gate_open = parts.world is not None and parts.world.gate.open
        batch = parts.sampler.sample(agent.n_step, gamma=agent.gamma, use_model=gate_open)
        for name, value in parts.agent.update(batch).items():
            self.losses[name] = self.losses.get(name, torch.zeros(())) + value
        self.updates_since_log += 1

    def _finished(self) -> str:
        """Which end has been reached, or nothing."""
        stopping, scores = self.config.early_stopping, self.parts.collector.scores
        if (
            stopping.enabled
            and len(scores) >= stopping.window_size
            and np.mean(scores) >= stopping.target_reward
        ):
            return "early_stopping"
        return "total_steps" if self.parts.collector.env_steps >= self.config.training.total_steps else ""

    def take_metrics(self) -> Metrics:
        """Means since the last call and the state of now; a loss that is not finite stops the run."""
        parts, collector = self.parts, self.parts.collector
        metrics: Metrics = {"rollout/episodes": float(collector.games)}
        metrics["rollout/exploration_rate"] = self._epsilon()
        if collector.scores:
            metrics["rollout/ep_rew_mean"] = float(np.mean(collector.scores))
            metrics["rollout/ep_len_mean"] = float(np.mean(collector.lengths))
        for name, total in self.losses.items():
            metrics[f"train/{name}"] = float(total) / self.updates_since_log
        metrics["train/n_updates"] = float(parts.agent.gradient_steps)
        _check_finite(metrics, collector.env_steps)
        metrics |= self._row_metrics()
        metrics |= {f"model/{name}": value for name, value in self.model_metrics.items()}
        self.losses, self.updates_since_log = {}, 0
        return metrics

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

    def state_dict(self) -> dict[str, Any]:
        """The parts and the sums of the interval under way."""
        return {
            "parts": self.parts.state_dict(),
            "losses": dict(self.losses),
            "updates_since_log": self.updates_since_log,
            "rows_at_log": list(self.rows_at_log),
            "model_metrics": self.model_metrics,
            "gate_opened_at": self.gate_opened_at,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.parts.load_state_dict(state["parts"])
        self.losses = dict(state["losses"])
        self.updates_since_log = int(state["updates_since_log"])
        synthetic, real = state["rows_at_log"]
        self.rows_at_log = (int(synthetic), int(real))
        self.model_metrics = {name: float(value) for name, value in state["model_metrics"].items()}
        self.gate_opened_at = state["gate_opened_at"]


def _check_finite(metrics: Mapping[str, float], step: int) -> None:
    bad = [name for name, value in metrics.items() if not np.isfinite(value)]
    if bad:
        raise UsageError(
            f"step {step}: expected finite {', '.join(bad)}, got {metrics[bad[0]]}; "
            "lower agent.learning_rate or agent.max_grad_norm"
        )
