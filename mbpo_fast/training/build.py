"""Builds the parts of a run from its settings."""

import os
from dataclasses import dataclass
from typing import Any

import torch

from mbpo_fast.agents import DDQN
from mbpo_fast.config import Config
from mbpo_fast.data import MixedSampler, ModelBuffer, ReplayBuffer
from mbpo_fast.envs import GameVectorEnv, make_vec
from mbpo_fast.errors import UsageError
from mbpo_fast.models import Gate, ModelTrainer, RolloutEngine, WorldModel
from mbpo_fast.training.collect import Collector
from mbpo_fast.training.schedules import longest_rollout

EVALUATION_SEED = 1_000_003
"""Added to the run's seed: evaluation never plays on training's seeds."""


@dataclass(frozen=True)
class ModelParts:
    """What a run with a world model has beside the learner."""

    model: WorldModel
    trainer: ModelTrainer
    engine: RolloutEngine
    buffer: ModelBuffer
    gate: Gate


@dataclass(frozen=True)
class Parts:
    """The built parts of a run; `world` is None at real_ratio 1."""

    config: Config
    collector: Collector
    replay: ReplayBuffer
    agent: DDQN
    sampler: MixedSampler
    world: ModelParts | None

    def state_dict(self) -> dict[str, Any]:
        """State of every part but the buffers' contents, which a checkpoint stores as segments."""
        state: dict[str, Any] = {
            "collector": self.collector.state_dict(),
            "agent": self.agent.state_dict(),
            "sampler": self.sampler.state(),
        }
        if self.world is not None:
            state["model"] = self.world.model.state_dict()
            state["trainer"] = self.world.trainer.state_dict()
            state["rollout_steps"] = self.world.engine.steps
            state["gate"] = {"open": self.world.gate.open, "verdict": self.world.gate.verdict}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.collector.load_state_dict(state["collector"])
        self.agent.load_state_dict(state["agent"])
        self.sampler.restore(state["sampler"])
        if self.world is not None:
            self.world.model.load_state_dict(state["model"])
            self.world.trainer.load_state_dict(state["trainer"])
            self.world.engine.steps = int(state["rollout_steps"])
            self.world.gate.open = bool(state["gate"]["open"])
            self.world.gate.verdict = str(state["gate"]["verdict"])

    def buffers(self) -> dict[str, Any]:
        """The buffers by the names of their segments."""
        return {"replay": self.replay} | ({"model": self.world.buffer} if self.world else {})


def set_threads(config: Config) -> None:
    """Give torch this run's CPU threads."""
    torch.set_num_threads(thread_count(config))


def thread_count(config: Config) -> int:
    """CPU threads of a run: by default the cores that this process may use."""
    return config.threads or len(os.sched_getaffinity(0))


def pick_device(name: str) -> torch.device:
    """`auto` is cuda when there is one; a device that is asked for and absent is an error."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"device: expected a CUDA device for {name!r}, found none; use device: cpu or auto")
    return torch.device(name)


def build_env(config: Config) -> GameVectorEnv:
    """The training environments."""
    env = config.env
    return make_vec(env.id, env.num_envs, seed=config.seed, workers=env.workers, **env.env_settings())


def build_eval_env(
    config: Config, *, num_envs: int, workers: int, env_id: str | None = None
) -> GameVectorEnv:
    """Environments of whole games: no episode ends at a lost life, rewards stay raw."""
    settings = config.env.env_settings() | {"episodic_life": False, "clip_reward": False}
    seed = config.seed + EVALUATION_SEED
    return make_vec(env_id or config.env.id, num_envs, seed=seed, workers=workers, **settings)


def build_agent(config: Config, env: GameVectorEnv) -> DDQN:
    """The learner for an environment's observations and actions."""
    stack, height, width = env.stack_shape
    return DDQN(
        config.agent,
        stack_size=stack,
        frame_shape=(height, width),
        num_actions=len(env.action_meanings),
        seed=config.seed,
        device=pick_device(config.device),
    )


def build(config: Config) -> Parts:
    """Every part of a run, as it is before the first step."""
    env = build_env(config)
    agent = build_agent(config, env)
    _, height, width = env.stack_shape
    replay = ReplayBuffer(
        config.replay.capacity,
        env.num_envs,
        frame_shape=(height, width),
        seed=config.seed,
        holdout_ratio=config.model.holdout_ratio if config.training.real_ratio < 1 else 0.0,
    )
    world = (
        build_world(config, (height, width), agent.num_actions) if config.training.real_ratio < 1 else None
    )
    sampler = MixedSampler(
        replay,
        world.buffer if world else None,
        config.training.batch_size,
        config.training.real_ratio,
        model_n_step=config.training.model_n_step,
    )
    collector = Collector(env, replay, window=config.early_stopping.window_size)
    return Parts(config, collector, replay, agent, sampler, world)


def build_world(config: Config, frame_shape: tuple[int, int], num_actions: int) -> ModelParts:
    """The world model with everything around it."""
    model = WorldModel(
        config.model,
        frame_shape=frame_shape,
        num_actions=num_actions,
        seed=config.seed,
        device=pick_device(config.device),
        threads=thread_count(config),
    )
    training = config.training
    buffer = ModelBuffer(
        model_buffer_capacity(config),
        context=config.env.frame_stack,
        horizon=longest_rollout(training.model_rollout_length, training.rollout_schedule),
        frame_shape=frame_shape,
        seed=config.seed,
    )
    engine = RolloutEngine(
        seed=config.seed,
        stack_size=config.env.frame_stack,
        propagation=config.model.propagation,
        uncertainty=config.model.uncertainty,
    )
    return ModelParts(model, ModelTrainer(model, seed=config.seed), engine, buffer, Gate(config.model.gate))


def model_buffer_capacity(config: Config) -> int:
    """Branches of `model_retain_epochs` epochs: older ones were imagined by a model and policy long gone."""
    training = config.training
    rounds = -(-training.model_retain_epochs * training.epoch_length // config.model.train_freq)
    return rounds * training.model_rollout_batch_size


def describe_networks(config: Config) -> list[dict[str, str]]:
    """Name, input, output, parameters and status of every network that these settings build."""
    env = build_env(config)
    try:
        agent = build_agent(config, env)
        shape = env.stack_shape
    finally:
        env.close()
    rows = [
        _network_row(
            "policy (DDQN)",
            agent.online,
            f"u8 [B, {', '.join(map(str, shape))}]",
            f"f32 [B, {agent.num_actions}]",
            agent.online(torch.zeros(1, *shape, dtype=torch.uint8)),
        )
    ]
    if config.training.real_ratio < 1:
        model = build_world(config, (shape[1], shape[2]), agent.num_actions).model
        members, context = config.model.ensemble_size, config.model.context
        probe = torch.zeros(1, context, *shape[1:], dtype=torch.uint8)
        frame, _, _ = model.predict(probe, torch.zeros(1, dtype=torch.int64), 0)
        rows.append(
            _network_row(
                f"world model ({config.model.arch}, {members} members)",
                model.members,
                f"u8 [B, {context}, {shape[1]}, {shape[2]}] + action",
                f"change [B, {shape[1]}, {shape[2]}], reward [B, 3], end [B]",
                frame,
            )
        )
    return rows


def _network_row(
    name: str, net: torch.nn.Module, inputs: str, outputs: str, probe: torch.Tensor
) -> dict[str, str]:
    parameters = sum(p.numel() for p in net.parameters())
    status = "ok" if bool(torch.isfinite(probe).all()) else "output not finite"
    return {
        "name": name,
        "input": inputs,
        "output": outputs,
        "parameters": f"{parameters:,}",
        "status": status,
    }
