"""Learning from one's own newest steps: act for T steps, learn from them in E passes, forget them.

Below real_ratio 1 the passes go over fresh branches of the world model too: docs/algorithms/ppo.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mbpo_fast.agents import PPO, Decision
from mbpo_fast.config import Config
from mbpo_fast.data import ReplayBuffer
from mbpo_fast.ops import Stream
from mbpo_fast.training.branches import branches_wanted, imagined_rollout
from mbpo_fast.training.build import (
    ModelParts,
    build_agent,
    build_env,
    build_halves,
    build_world,
    uses_graphs,
)
from mbpo_fast.training.build_buffers import build_replay
from mbpo_fast.training.collect import Collector
from mbpo_fast.training.imagination import Imagination
from mbpo_fast.training.loop import Loop, Metrics
from mbpo_fast.training.rollout_storage import Rollout, RolloutStorage
from mbpo_fast.training.schedules import Every, shortest_rollout
from mbpo_fast.training.timer import PhaseTimer


@dataclass(frozen=True)
class OnPolicyParts:
    """The built parts of an on-policy run; `replay` holds the newest steps for `storage`.

    With a world model it holds the older ones too, for the model to learn from.
    """

    config: Config
    collector: Collector
    replay: ReplayBuffer
    agent: PPO
    storage: RolloutStorage
    world: ModelParts | None

    def state_dict(self) -> dict[str, Any]:
        """State of every part but the replay buffer's contents; branches are gone once learned from."""
        state = {
            "collector": self.collector.state_dict(),
            "agent": self.agent.state_dict(),
            "storage": self.storage.state_dict(),
        }
        return state | (self.world.state_dict() if self.world else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.collector.load_state_dict(state["collector"])
        self.agent.load_state_dict(state["agent"])
        self.storage.load_state_dict(state["storage"])
        if self.world:
            self.world.load_state_dict(state)


def build_on_policy(config: Config) -> OnPolicyParts:
    """Every part of an on-policy run, as it is before the first step."""
    env = build_halves(config) if config.training.halves else build_env(config)
    agent = build_agent(config, env, cuda_graphs=uses_graphs(config))
    if not isinstance(agent, PPO):
        raise ValueError(f"[build_on_policy] expected ppo, got {config.agent.kind}")
    stack, height, width = env.stack_shape
    steps = agent.config.rollout_steps
    world = None
    if config.training.real_ratio < 1:
        replay = build_replay(config, (height, width))
        shortest = shortest_rollout(config.training.model_rollout_length, config.training.rollout_schedule)
        branches = branches_wanted(steps * env.num_envs, config.training.real_ratio, shortest)
        world = build_world(config, (height, width), agent, branches=branches)
    else:
        # The rollout, and the frames before it that its first stacks reach back to.
        replay = ReplayBuffer(
            (steps + stack) * env.num_envs, env.num_envs, frame_shape=(height, width), seed=config.seed
        )
    states = world.states if world else None
    collector = Collector(env, replay, window=config.early_stopping.window_size, states=states)
    return OnPolicyParts(config, collector, replay, agent, RolloutStorage(replay, steps, stack), world)


class OnPolicyTrainer(Loop):
    """The loop of PPO (Schulman et al. 2017, algorithm 1) over built parts."""

    def __init__(self, parts: OnPolicyParts, timer: PhaseTimer) -> None:
        super().__init__(parts.config, parts.collector, parts.agent, timer)
        self.parts = parts
        self.imagination = (
            Imagination(parts.config, parts.collector, parts.replay, parts.agent, parts.world, timer)
            if parts.world
            else None
        )
        self.rollout_began = 0
        self.explained_variance = 0.0
        self.real_rows = self.synthetic_rows = 0

    def _iterate(self) -> None:
        """Act and store, one step or by halves a rollout; learn where it is complete."""
        with self.timer("act"):
            if self.parts.storage.filled == 0:
                self.rollout_began = self.collector.env_steps
            if self.config.training.halves:
                self._act_by_halves()
            else:
                self._act()
        if self.parts.storage.full:
            self._learn()

    def _act(self) -> None:
        """One step of every environment by the policy, stored with what the policy thought of it."""
        collector = self.collector
        decision = self.parts.agent.decide(
            collector.obs, seed=self.config.seed, stream=Stream.EXPLORE, step=collector.iterations
        )
        self.parts.storage.note(decision)
        collector.step(decision.action)

    def _act_by_halves(self) -> None:
        """The rest of the rollout: while one half of the environments steps, decide for the other.

        The policy stands still meanwhile, so this is what `_act` does, in another order. It ends early where
        the budget may, and no step is under way then.
        """
        collector, storage = self.collector, self.parts.storage
        budget = -(-(self.config.training.total_steps - collector.env_steps) // collector.env.num_envs)
        begin = collector.iterations
        end = begin + min(storage.steps - storage.filled, budget)
        decided = self._begin_half(0, begin)
        for step in range(begin, end):
            storage.note(_joined(decided, self._begin_half(1, step)))
            collector.end_step(0)
            if step + 1 < end:
                decided = self._begin_half(0, step + 1)
            collector.end_step(1)

    def _begin_half(self, half: int, step: int) -> Decision:
        """Step one half of the environments by the policy; its draws are those of its rows among all."""
        collector = self.collector
        first_row = sum(part.num_envs for part in collector.env.parts[:half])
        decision = self.parts.agent.decide(
            collector.obs_of(half),
            seed=self.config.seed,
            stream=Stream.EXPLORE,
            step=step,
            first_row=first_row,
        )
        collector.begin_step(decision.action, half)
        return decision

    def _learn(self) -> None:
        """Every pass over the rollout that is complete, and over the branches imagined for it."""
        agent, storage = self.parts.agent, self.parts.storage
        real = storage.take(agent.values(self.collector.obs), agent.config)
        rollouts = [real, *self._imagine(self.imagination, len(real.ids))] if self.imagination else [real]
        with self.timer("update"):
            for _ in range(agent.config.epochs):
                self._pass(rollouts)
        self.real_rows += agent.config.epochs * len(real.ids)
        self.synthetic_rows += agent.config.epochs * sum(len(rollout.ids) for rollout in rollouts[1:])
        self.explained_variance = _explained_variance(real)

    def _imagine(self, imagination: Imagination, real_rows: int) -> list[Rollout]:
        """Fit the model where it is due; while its gate is open, branches of the policy as it is now."""
        self.refuse_divergence()
        if Every(self.config.model.train_freq)(self.rollout_began, self.collector.env_steps):
            imagination.fit(self.on_check)
        if not imagination.gate_open:
            return []
        buffer = imagination.world.buffer
        begun = buffer.total
        count = branches_wanted(real_rows, self.config.training.real_ratio, imagination.horizon())
        imagination.roll_out(count, draw=self.collector.iterations, epsilon=0.0)
        with self.timer("rollout"):
            return [imagined_rollout(buffer.export(begun, buffer.total), self.parts.agent)]

    def _pass(self, rollouts: list[Rollout]) -> None:
        agent = self.parts.agent
        batches = self.parts.storage.minibatches(
            rollouts, agent.config.minibatches, seed=self.config.seed, step=agent.gradient_steps
        )
        for batch in batches:
            self._note(agent.update(batch, remaining=self._remaining()))

    def _remaining(self) -> float:
        """The share of training that was left when the rollout began, as in CleanRL: above 0 to the end."""
        return max(0.0, 1.0 - self.rollout_began / self.config.training.total_steps)

    def _own_metrics(self) -> Metrics:
        """How well the critic knew the newest rollout, the rows learned from, the newest judgement."""
        judged = self.imagination.metrics if self.imagination else {}
        return {
            "train/explained_variance": self.explained_variance,
            "data/real_rows": float(self.real_rows),
            "data/synthetic_rows": float(self.synthetic_rows),
        } | {f"model/{name}": value for name, value in judged.items()}

    def buffers(self) -> dict[str, Any]:
        """The buffers that a checkpoint stores, by the names of their segments."""
        return {"replay": self.parts.replay}

    def summary(self) -> dict[str, Any]:
        """Rows learned from; each pass over a step counts."""
        return {
            "synthetic_rows": self.synthetic_rows,
            "real_rows": self.real_rows,
            "gate_opened_at": self.imagination.gate_opened_at if self.imagination else None,
            "gate_verdict": self.gate_verdict,
        }

    @property
    def opening(self) -> str:
        """What imagines; without a model nothing."""
        return f"rollouts: {self.parts.world.engine.description}" if self.parts.world else ""

    @property
    def gate_verdict(self) -> str:
        """What the world model's gate says; without a model, that there is none."""
        return self.parts.world.gate.verdict if self.parts.world else "no model"

    def state_dict(self) -> dict[str, Any]:
        """The parts, the rollout under way and the sums of the interval."""
        return super().state_dict() | {
            "parts": self.parts.state_dict(),
            "imagination": self.imagination.state_dict() if self.imagination else None,
            "rollout_began": self.rollout_began,
            "explained_variance": self.explained_variance,
            "real_rows": self.real_rows,
            "synthetic_rows": self.synthetic_rows,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self.parts.load_state_dict(state["parts"])
        if self.imagination:
            self.imagination.load_state_dict(state["imagination"])
        self.rollout_began = int(state["rollout_began"])
        self.explained_variance = float(state["explained_variance"])
        self.real_rows, self.synthetic_rows = int(state["real_rows"]), int(state["synthetic_rows"])


def _joined(first: Decision, second: Decision) -> Decision:
    """The decisions for both halves."""
    return Decision(
        np.concatenate([first.action, second.action]),
        np.concatenate([first.log_prob, second.log_prob]),
        np.concatenate([first.value, second.value]),
    )


def _explained_variance(rollout: Rollout) -> float:
    """1 - Var(returns - value) / Var(returns): 1 for a perfect critic, 0 for a constant one."""
    spread = float(np.var(rollout.returns))
    return 1.0 - float(np.var(rollout.returns - rollout.value)) / spread if spread > 0 else 0.0
