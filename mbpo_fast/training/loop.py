"""What every training loop does around its iterations: log, record, evaluate, save, stop."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbpo_fast.agents import Agent
from mbpo_fast.config import Config
from mbpo_fast.errors import UsageError
from mbpo_fast.models.trainer import OnCheck
from mbpo_fast.training.collect import Collector
from mbpo_fast.training.schedules import Every
from mbpo_fast.training.timer import PhaseTimer

Metrics = dict[str, float]


class Loop(ABC):
    """Iterations until an end; what happens outside of them (files, screens) comes in as callbacks."""

    def __init__(self, config: Config, collector: Collector, agent: Agent, timer: PhaseTimer) -> None:
        self.config = config
        self.collector = collector
        self.agent = agent
        self.timer = timer
        self.losses: dict[str, Tensor] = {}
        self.updates_since_log = 0
        self.on_check: OnCheck | None = None
        # A signal cut it short: it is played when the run goes on.
        self.evaluation_owed = False

    def train(
        self,
        *,
        on_log: Callable[[int, Metrics], None],
        on_save: Callable[[int], None],
        on_evaluate: Callable[[], Metrics],
        on_video: Callable[[], None] = lambda: None,
        on_check: OnCheck | None = None,
        interrupted: Callable[[], bool],
    ) -> str:
        """Run until the budget, the target score or an interruption; returns which it was.

        `on_check` hears how far a fit of the world model is: its first one may take minutes.
        """
        config, collector, timer = self.config, self.collector, self.timer
        self.on_check = on_check
        log_due, video_due = Every(config.log.every), Every(config.video.every)
        evaluate_due, save_due = Every(config.evaluation.every), Every(config.checkpoint.every)
        if self.evaluation_owed:
            self._evaluate(on_log, on_evaluate)
        while not (verdict := self.finished() or ("interrupted" if interrupted() else "")):
            before, games = collector.env_steps, collector.games
            self._iterate()
            after = collector.env_steps
            if log_due(before, after):
                on_log(after, self.take_metrics())
            if video_due(games, collector.games):
                self.refuse_divergence()
                with timer("video"):
                    on_video()
            if evaluate_due(before, after):
                self._evaluate(on_log, on_evaluate)
            if save_due(before, after):
                self.refuse_divergence()
                with timer("checkpoint"):
                    on_save(after)
        self.refuse_divergence()
        on_save(collector.env_steps)
        return verdict

    def _evaluate(self, on_log: Callable[[int, Metrics], None], on_evaluate: Callable[[], Metrics]) -> None:
        """Play and log an evaluation; no metrics: it was cut short."""
        self.refuse_divergence()
        with self.timer("evaluate"):
            metrics = on_evaluate()
            self.evaluation_owed = not metrics
            if metrics:
                on_log(self.collector.env_steps, metrics)

    @abstractmethod
    def _iterate(self) -> None:
        """One step of every environment, and the learning that is due after it."""

    @abstractmethod
    def _own_metrics(self) -> Metrics:
        """Metrics of this loop alone."""

    @abstractmethod
    def buffers(self) -> dict[str, Any]:
        """The buffers that a checkpoint stores, by the names of their segments."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """What the end of a run says: synthetic_rows, real_rows, gate_opened_at, gate_verdict."""

    @property
    def opening(self) -> str:
        """A line to say before the first step, or nothing."""
        return ""

    @property
    def gate_verdict(self) -> str:
        """What the world model's gate says; without a model, that there is none."""
        return "no model"

    def finished(self) -> str:
        """Which end has been reached: `early_stopping` or `total_steps`, or nothing."""
        stopping, scores = self.config.early_stopping, self.collector.scores
        if (
            stopping.enabled
            and len(scores) >= stopping.window_size
            and np.mean(scores) >= stopping.target_reward
        ):
            return "early_stopping"
        return "total_steps" if self.collector.env_steps >= self.config.training.total_steps else ""

    def _note(self, losses: Mapping[str, Tensor]) -> None:
        """Add what an update returned to the sums of the interval."""
        for name, value in losses.items():
            self.losses[name] = self.losses.get(name, torch.zeros(())) + value
        self.updates_since_log += 1

    def refuse_divergence(self) -> None:
        """UsageError where a loss since the last log line is no number: such weights must reach no file.

        Called before anything is saved, logged or imagined; on a GPU it waits for the updates.
        """
        bad = [name for name, total in self.losses.items() if not torch.isfinite(total)]
        if bad:
            raise diverged(
                f"train/{bad[0]}", float(self.losses[bad[0]]), self.collector.env_steps, self.config
            )

    def take_metrics(self) -> Metrics:
        """Means since the last call and the state of now; a loss that is not finite stops the run."""
        collector = self.collector
        metrics: Metrics = {"rollout/episodes": float(collector.games)}
        if collector.scores:
            metrics["rollout/ep_rew_mean"] = float(np.mean(collector.scores))
            metrics["rollout/ep_len_mean"] = float(np.mean(collector.lengths))
        for name, total in self.losses.items():
            metrics[f"train/{name}"] = float(total) / self.updates_since_log
        metrics["train/n_updates"] = float(self.agent.gradient_steps)
        self.refuse_divergence()
        self.losses, self.updates_since_log = {}, 0
        return metrics | self._own_metrics()

    def state_dict(self) -> dict[str, Any]:
        """The sums of the interval under way, and whether an evaluation is owed; loops add their own."""
        return {
            "losses": dict(self.losses),
            "updates_since_log": self.updates_since_log,
            "evaluation_owed": self.evaluation_owed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.losses = dict(state["losses"])
        self.updates_since_log = int(state["updates_since_log"])
        self.evaluation_owed = bool(state.get("evaluation_owed", False))  # a checkpoint of before has none


def diverged(what: str, value: float, step: int, config: Config) -> UsageError:
    """The error of a learner whose numbers are none: what to lower."""
    rates = [f"agent.{key}" for key in type(config.agent).model_fields if key.endswith("learning_rate")]
    return UsageError(
        f"step {step}: expected a finite {what}, got {value}; lower {', '.join(rates)} or agent.max_grad_norm"
    )
