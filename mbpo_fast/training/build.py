"""Builds the parts of a run from its settings."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from mbpo_fast.agents import DDQN, PPO, SAC, Agent, OffPolicyAgent, make_agent
from mbpo_fast.config import Config
from mbpo_fast.data import MixedSampler, ModelBuffer, PrioritizedReplayBuffer, ReplayBuffer
from mbpo_fast.data.placement import Placement
from mbpo_fast.data.state_store import StateStore
from mbpo_fast.envs import EnvSettings, GameVectorEnv, HalvedVectorEnv, make_halves, make_vec
from mbpo_fast.envs.branches import BranchGame
from mbpo_fast.errors import UsageError
from mbpo_fast.models import (
    Engine,
    Gate,
    GateConfig,
    ModelTrainer,
    RolloutEngine,
    WorldModel,
    make_rollout_engine,
)
from mbpo_fast.models.oracle import Oracle, OracleRounds
from mbpo_fast.ops.gpu_device import Device
from mbpo_fast.training.build_buffers import (
    build_model_buffer,
    build_replay,
    frame_placement,
    model_buffer_capacity,
    prioritized_settings,
)
from mbpo_fast.training.collect import Collector, Environments
from mbpo_fast.training.machine import pick_device, thread_count

EVALUATION_SEED = 1_000_003
"""Added to the run's seed: evaluation never plays on training's seeds."""


def final_seed(config: Config) -> int:
    """Seed of a run's final evaluation: neither its training nor an evaluation on the way has it."""
    return config.seed + 2 * EVALUATION_SEED


@dataclass(frozen=True)
class ModelParts:
    """What a run with a world model has beside the learner; `states` are those of the oracle."""

    model: WorldModel | Oracle
    trainer: ModelTrainer | OracleRounds
    engine: Engine
    buffer: ModelBuffer
    gate: Gate
    states: StateStore | None = None

    def state_dict(self) -> dict[str, Any]:
        """State of every part but the branches."""
        return {
            "model": self.model.state_dict(),
            "trainer": self.trainer.state_dict(),
            "rollout_steps": self.engine.steps,
            "gate": {"open": self.gate.open, "verdict": self.gate.verdict},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; other keys are ignored."""
        self.model.load_state_dict(state["model"])
        self.trainer.load_state_dict(state["trainer"])
        self.engine.steps = int(state["rollout_steps"])
        self.gate.open = bool(state["gate"]["open"])
        self.gate.verdict = str(state["gate"]["verdict"])


@dataclass(frozen=True)
class Parts:
    """The built parts of an off-policy run; `world` is None at real_ratio 1."""

    config: Config
    collector: Collector
    replay: ReplayBuffer
    agent: OffPolicyAgent
    sampler: MixedSampler
    world: ModelParts | None
    frames: Placement

    def state_dict(self) -> dict[str, Any]:
        """State of every part but the buffers' contents, which a checkpoint stores as segments."""
        state: dict[str, Any] = {
            "collector": self.collector.state_dict(),
            "agent": self.agent.state_dict(),
            "sampler": self.sampler.state(),
        }
        if isinstance(self.replay, PrioritizedReplayBuffer):
            state["priorities"] = self.replay.extra()
        if self.world is not None:
            state |= self.world.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.collector.load_state_dict(state["collector"])
        self.agent.load_state_dict(state["agent"])
        self.sampler.restore(state["sampler"])
        if isinstance(self.replay, PrioritizedReplayBuffer):
            self.replay.restore_extra({name: np.asarray(x) for name, x in state["priorities"].items()})
        if self.world is not None:
            self.world.load_state_dict(state)

    def buffers(self) -> dict[str, Any]:
        """The buffers by the names of their segments."""
        return {"replay": self.replay} | ({"model": self.world.buffer} if self.world else {})


def build_env(config: Config) -> GameVectorEnv:
    """The training environments."""
    env = config.env
    return make_vec(env.id, env.num_envs, seed=config.seed, workers=env.workers, **env.env_settings())


def build_halves(config: Config) -> HalvedVectorEnv:
    """The training environments in two halves, each with half of the workers."""
    env = config.env
    return make_halves(env.id, env.num_envs, seed=config.seed, workers=env.workers, **env.env_settings())


def build_eval_env(
    config: Config, *, num_envs: int, workers: int = 0, first_lane: int = 0, env_id: str | None = None
) -> GameVectorEnv:
    """Environments of whole games: no episode ends at a lost life, rewards stay raw."""
    settings = config.env.env_settings() | {"episodic_life": False, "clip_reward": False}
    seed = config.seed + EVALUATION_SEED
    return make_vec(
        env_id or config.env.id, num_envs, seed=seed, workers=workers, first_lane=first_lane, **settings
    )


def uses_graphs(config: Config) -> bool:
    """Whether gradient steps become CUDA graphs; UsageError where that is asked for without a GPU."""
    device = pick_device(config.device)
    if config.cuda_graphs and device.type != "cuda":
        raise UsageError(f"cuda_graphs: expected networks on a GPU, got device {device}; set it to false")
    return config.cuda_graphs


def build_agent(config: Config, env: Environments, *, cuda_graphs: bool = False) -> DDQN | SAC | PPO:
    """The learner for an environment's observations and actions."""
    stack, height, width = env.stack_shape
    with _that_take_the_frames(config):
        return make_agent(
            config.agent,
            stack_size=stack,
            frame_shape=(height, width),
            num_actions=len(env.action_meanings),
            seed=config.seed,
            device=pick_device(config.device),
            cuda_graphs=cuda_graphs,
        )


@contextmanager
def _that_take_the_frames(config: Config) -> Iterator[None]:
    """Networks built here: one that cannot take frames of the size asked for is a UsageError."""
    try:
        yield
    except ValueError as error:
        size = "by default" if config.env.screen_size is None else config.env.screen_size
        raise UsageError(f"env.screen_size {size}: {error}") from error


def build(config: Config) -> Parts:
    """Every part of an off-policy run, as it is before the first step."""
    env = build_env(config)
    agent = build_agent(config, env, cuda_graphs=uses_graphs(config))
    if isinstance(agent, PPO):
        raise ValueError("[build] expected an off-policy learner, got ppo: see build_on_policy")
    _, height, width = env.stack_shape
    frames = frame_placement(config, (height, width))
    replay = build_replay(config, (height, width), device=frames.device)
    world = None
    if config.training.real_ratio < 1:
        branches = model_buffer_capacity(config)
        world = build_world(config, (height, width), agent, branches=branches, device=frames.device)
    priorities = prioritized_settings(config)
    sampler = MixedSampler(
        replay,
        world.buffer if world else None,
        config.training.batch_size,
        config.training.real_ratio,
        context=config.env.frame_stack,
        beta=priorities.importance_exponent if priorities else 0.0,
        model_n_step=config.training.model_n_step,
    )
    collector = Collector(
        env, replay, window=config.early_stopping.window_size, states=world.states if world else None
    )
    return Parts(config, collector, replay, agent, sampler, world, frames)


def build_model(
    config: Config, frame_shape: tuple[int, int], num_actions: int, *, cuda_graphs: bool = False
) -> WorldModel:
    """The world model alone, before its first update."""
    with _that_take_the_frames(config):
        return WorldModel(
            config.model,
            frame_shape=frame_shape,
            num_actions=num_actions,
            seed=config.seed,
            device=pick_device(config.device),
            threads=thread_count(config),
            cuda_graphs=cuda_graphs,
        )


def build_world(
    config: Config,
    frame_shape: tuple[int, int],
    agent: Agent,
    *,
    branches: int,
    device: Device | None = None,
) -> ModelParts:
    """The world model with everything around it, and room on `device` for so many branches."""
    buffer = build_model_buffer(config, frame_shape, branches, device=device)
    stack_size = config.env.frame_stack
    if config.model.kind == "oracle":
        states = StateStore(config.model.oracle.every)
        oracle = build_oracle(config, states)
        player = RolloutEngine(seed=config.seed, stack_size=stack_size, reason="the oracle plays the game")
        gate = Gate(GateConfig(mode="off"))
        return ModelParts(oracle, OracleRounds(oracle), player, buffer, gate, states)
    model = build_model(config, frame_shape, agent.num_actions, cuda_graphs=uses_graphs(config))
    engine = make_rollout_engine(
        config.rollout,
        agent,
        model,
        seed=config.seed,
        stack_size=stack_size,
        frame_shape=frame_shape,
        threads=thread_count(config),
    )
    return ModelParts(model, ModelTrainer(model, seed=config.seed), engine, buffer, Gate(config.model.gate))


def build_oracle(config: Config, states: StateStore) -> Oracle:
    """The training environment's own game as a model, and where its states are kept."""
    game = BranchGame(config.env.id, EnvSettings(**config.env.env_settings()))
    return Oracle(game, states, num_envs=config.env.num_envs)
