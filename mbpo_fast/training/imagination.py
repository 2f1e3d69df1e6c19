"""The world model's part in a run: fit it, judge it, and roll out branches from real states."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.agents import Agent, PPOConfig
from mbpo_fast.config import Config
from mbpo_fast.data import ReplayBuffer
from mbpo_fast.errors import UsageError
from mbpo_fast.models.oracle import Oracle
from mbpo_fast.models.trainer import OnCheck
from mbpo_fast.ops import Stream, random_integers
from mbpo_fast.training.build import ModelParts
from mbpo_fast.training.collect import Collector
from mbpo_fast.training.loop import Metrics
from mbpo_fast.training.schedules import rollout_length
from mbpo_fast.training.timer import PhaseTimer

START_CHUNK = 512
"""Branches rolled out together: with 36 frames of context each, 4096 would fill a gigabyte."""


class Imagination:
    """What a run does with its world model: learn from the real steps, then imagine others.

    Attributes:
        metrics: the newest judgement and the newest rollout, to log.
        gate_opened_at: agent steps when the gate first let branches through; None: never yet.

    """

    def __init__(
        self,
        config: Config,
        collector: Collector,
        replay: ReplayBuffer,
        agent: Agent,
        world: ModelParts,
        timer: PhaseTimer,
    ) -> None:
        self.config, self.collector, self.replay, self.agent = config, collector, replay, agent
        self.world = world
        self.timer = timer
        self.metrics: Metrics = {}
        self.gate_opened_at: int | None = None

    @property
    def gate_open(self) -> bool:
        """Whether the model is good enough to learn from what it imagines; before its first fit it is not."""
        return self.world.gate.open and self.world.trainer.rounds > 0

    def fit(self, on_check: OnCheck | None) -> None:
        """Fit the model to the real steps and judge it on those that it never learned from."""
        with self.timer("model"):
            metrics = self.world.trainer.fit(self.replay, on_check)
        self.world.gate.judge(metrics)
        if not self.gate_open:
            # When it opens again, what an older model imagined is not mixed with what a better one does.
            self.world.buffer.clear()
        self.metrics = metrics | {"gate_open": float(self.gate_open)}

    def horizon(self) -> int:
        """Steps of a branch now."""
        training = self.config.training
        random_phase = 0 if isinstance(self.config.agent, PPOConfig) else training.learning_starts
        return rollout_length(
            self.collector.env_steps - random_phase,
            training.model_rollout_length,
            training.rollout_schedule,
            training.epoch_length,
        )

    def roll_out(self, count: int, *, draw: int, epsilon: float) -> None:
        """At most `count` branches from real states, by the current policy, into the model buffer.

        The states follow from the seed and `draw`.
        """
        if self.gate_opened_at is None:
            self.gate_opened_at = self.collector.env_steps
        horizon, world = self.horizon(), self.world
        with self.timer("rollout"):
            starts = self._starts(count, draw)
            doubts: Metrics = {}
            for first in range(0, len(starts), START_CHUNK):
                ids = starts[first : first + START_CHUNK]
                if isinstance(world.model, Oracle):
                    world.model.begin(ids, horizon)
                stacks = self.replay.stacks(ids, self.config.model.context)
                world.engine.run(
                    stacks, self.agent, world.model, world.buffer, horizon=horizon, epsilon=epsilon
                )
                for name, value in world.engine.metrics.items():
                    doubts[name] = doubts.get(name, 0.0) + value * len(ids) / len(starts)
        self.metrics |= {"rollout_length": float(horizon)} | doubts

    def _starts(self, count: int, draw: int) -> NDArray[np.int64]:
        """Ids of the real transitions where branches begin, drawn with replacement."""
        ids = self.replay.valid_ids(1, context=self.config.model.context)
        if isinstance(self.world.model, Oracle):
            ids = self.world.model.with_state(ids)
            count = min(count, self.config.model.oracle.starts)
            if not len(ids):
                raise UsageError("model.oracle.every: expected a kept state in the replay buffer, found none")
        return ids[random_integers(self.config.seed, Stream.START_STATES, draw, count, len(ids))]

    def state_dict(self) -> dict[str, Any]:
        """The newest judgement, and when the gate opened."""
        return {"metrics": self.metrics, "gate_opened_at": self.gate_opened_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.metrics = {name: float(value) for name, value in state["metrics"].items()}
        self.gate_opened_at = state["gate_opened_at"]
