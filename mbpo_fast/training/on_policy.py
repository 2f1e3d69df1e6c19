"""Learning from one's own newest steps alone: act for T steps, learn from them in E passes, forget them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mbpo_fast.agents import PPO
from mbpo_fast.config import Config
from mbpo_fast.data import ReplayBuffer
from mbpo_fast.ops import Stream
from mbpo_fast.training.build import build_agent, build_env
from mbpo_fast.training.collect import Collector
from mbpo_fast.training.loop import Loop, Metrics
from mbpo_fast.training.rollout_storage import Rollout, RolloutStorage
from mbpo_fast.training.timer import PhaseTimer


@dataclass(frozen=True)
class OnPolicyParts:
    """The built parts of an on-policy run; `replay` holds the newest steps for `storage`."""

    config: Config
    collector: Collector
    replay: ReplayBuffer
    agent: PPO
    storage: RolloutStorage


def build_on_policy(config: Config) -> OnPolicyParts:
    """Every part of an on-policy run, as it is before the first step."""
    env = build_env(config)
    agent = build_agent(config, env)
    if not isinstance(agent, PPO):
        raise ValueError(f"[build_on_policy] expected ppo, got {config.agent.kind}")
    stack, height, width = env.stack_shape
    steps = agent.config.rollout_steps
    # The rollout, and the frames before it that its first stacks reach back to.
    replay = ReplayBuffer(
        (steps + stack) * env.num_envs, env.num_envs, frame_shape=(height, width), seed=config.seed
    )
    collector = Collector(env, replay, window=config.early_stopping.window_size)
    return OnPolicyParts(config, collector, replay, agent, RolloutStorage(replay, steps, stack))


class OnPolicyTrainer(Loop):
    """The loop of PPO (Schulman et al. 2017, algorithm 1) over built parts."""

    def __init__(self, parts: OnPolicyParts, timer: PhaseTimer) -> None:
        super().__init__(parts.config, parts.collector, parts.agent, timer)
        self.parts = parts
        self.rollout_began = 0
        self.explained_variance = 0.0
        self.real_rows = 0

    def _iterate(self) -> None:
        """Act and store; learn where a rollout is complete."""
        with self.timer("act"):
            self._act()
        if self.parts.storage.full:
            with self.timer("update"):
                self._learn()

    def _act(self) -> None:
        """One step of every environment by the policy, stored with what the policy thought of it."""
        collector, storage = self.collector, self.parts.storage
        if storage.filled == 0:
            self.rollout_began = collector.env_steps
        decision = self.parts.agent.decide(
            collector.obs, seed=self.config.seed, stream=Stream.EXPLORE, step=collector.iterations
        )
        storage.note(decision)
        collector.step(decision.action)

    def _learn(self) -> None:
        """Every pass over the rollout that is complete."""
        agent, storage = self.parts.agent, self.parts.storage
        rollout = storage.take(agent.values(self.collector.obs), agent.config)
        remaining = self._remaining()
        for _ in range(agent.config.epochs):
            batches = storage.minibatches(
                rollout, agent.config.minibatches, seed=self.config.seed, step=agent.gradient_steps
            )
            for batch in batches:
                self._note(agent.update(batch, remaining=remaining))
                self.real_rows += len(batch.action)
        self.explained_variance = _explained_variance(rollout)

    def _remaining(self) -> float:
        """The share of training that was left when the rollout began, as in CleanRL: above 0 to the end."""
        return max(0.0, 1.0 - self.rollout_began / self.config.training.total_steps)

    def _own_metrics(self) -> Metrics:
        """How well the critic knew the newest rollout, and the rows learned from."""
        return {
            "train/explained_variance": self.explained_variance,
            "data/real_rows": float(self.real_rows),
            "data/synthetic_rows": 0.0,
        }

    def buffers(self) -> dict[str, Any]:
        """The buffers that a checkpoint stores, by the names of their segments."""
        return {"replay": self.parts.replay}

    def summary(self) -> dict[str, Any]:
        """Rows learned from; each pass over a step counts."""
        return {
            "synthetic_rows": 0,
            "real_rows": self.real_rows,
            "gate_opened_at": None,
            "gate_verdict": self.gate_verdict,
        }

    def state_dict(self) -> dict[str, Any]:
        """The parts, the rollout under way and the sums of the interval."""
        parts = {
            "collector": self.collector.state_dict(),
            "agent": self.agent.state_dict(),
            "storage": self.parts.storage.state_dict(),
        }
        return super().state_dict() | {
            "parts": parts,
            "rollout_began": self.rollout_began,
            "explained_variance": self.explained_variance,
            "real_rows": self.real_rows,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self.collector.load_state_dict(state["parts"]["collector"])
        self.agent.load_state_dict(state["parts"]["agent"])
        self.parts.storage.load_state_dict(state["parts"]["storage"])
        self.rollout_began = int(state["rollout_began"])
        self.explained_variance = float(state["explained_variance"])
        self.real_rows = int(state["real_rows"])


def _explained_variance(rollout: Rollout) -> float:
    """1 - Var(returns - value) / Var(returns): 1 for a perfect critic, 0 for a constant one."""
    spread = float(np.var(rollout.returns))
    return 1.0 - float(np.var(rollout.returns - rollout.value)) / spread if spread > 0 else 0.0
