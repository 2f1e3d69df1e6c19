"""The buffers of a run, from its settings: how large they are, and where their frames lie."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mbpo_fast.agents import DDQNConfig, PPOConfig
from mbpo_fast.config import Config
from mbpo_fast.data import ModelBuffer, PrioritizedReplayBuffer, ReplayBuffer
from mbpo_fast.data.arguments import MOST_COPY_THREADS
from mbpo_fast.data.placement import Placement, place_frames
from mbpo_fast.errors import UsageError
from mbpo_fast.ops.gpu_device import Device
from mbpo_fast.training.machine import pick_device, thread_count
from mbpo_fast.training.schedules import longest_rollout


def frame_placement(config: Config, frame_shape: tuple[int, int]) -> Placement:
    """Where the frames of both buffers lie in an off-policy run."""
    frames, has_model = config.replay.capacity, config.training.real_ratio < 1
    if has_model:
        frames += model_buffer_capacity(config) * (config.env.frame_stack + branch_length(config))
    oracle = has_model and config.model.kind == "oracle"
    networks = pick_device(config.device)
    return place_frames(
        "cpu" if oracle else config.replay.device,
        networks=networks.type,
        index=networks.index,
        nbytes=frames * frame_shape[0] * frame_shape[1],
    )


def prioritized_settings(config: Config) -> DDQNConfig | None:
    """The learner's settings where they ask for prioritised replay."""
    agent = config.agent
    return agent if isinstance(agent, DDQNConfig) and agent.prioritized else None


def build_replay(
    config: Config, frame_shape: tuple[int, int], *, device: Device | None = None
) -> ReplayBuffer:
    """The buffer of real transitions, its frames on `device`; prioritised where the learner wants it so."""
    settings: dict[str, Any] = {
        "frame_shape": frame_shape,
        "seed": config.seed,
        "holdout_ratio": config.model.holdout_ratio if config.training.real_ratio < 1 else 0.0,
        "num_threads": min(thread_count(config), MOST_COPY_THREADS),
        "device": device,
    }
    capacity, lanes = config.replay.capacity, config.env.num_envs
    with _that_fit("replay.capacity", capacity, capacity, frame_shape):
        if priorities := prioritized_settings(config):
            return PrioritizedReplayBuffer(capacity, lanes, alpha=priorities.priority_exponent, **settings)
        return ReplayBuffer(capacity, lanes, **settings)


def build_model_buffer(
    config: Config, frame_shape: tuple[int, int], branches: int, *, device: Device | None = None
) -> ModelBuffer:
    """Room for so many branches, their frames on `device`."""
    context, horizon = config.env.frame_stack, branch_length(config)
    with _that_fit(*_branches_key(config), branches * (context + horizon), frame_shape):
        return ModelBuffer(
            branches,
            context=context,
            horizon=horizon,
            frame_shape=frame_shape,
            seed=config.seed,
            device=device,
        )


@contextmanager
def _that_fit(key: str, asked: int, frames: int, frame_shape: tuple[int, int]) -> Iterator[None]:
    """A buffer built here: one that is too large for the memory is a UsageError."""
    try:
        yield
    except MemoryError:
        size = frames * frame_shape[0] * frame_shape[1] / 1e9
        raise UsageError(
            f"{key}: expected frames that fit into memory, got {asked:,}, which takes {size:,.0f} GB"
        ) from None


def _branches_key(config: Config) -> tuple[str, int]:
    """The setting that the number of branches follows from, and its value."""
    if isinstance(config.agent, PPOConfig):
        return "agent.rollout_steps", config.agent.rollout_steps
    asked, starts = config.training.model_rollout_batch_size, config.model.oracle.starts
    if config.model.kind == "oracle" and starts < asked:
        return "model.oracle.starts", starts
    return "training.model_rollout_batch_size", asked


def branch_length(config: Config) -> int:
    """Steps of the longest branch that the schedule asks for."""
    return longest_rollout(config.training.model_rollout_length, config.training.rollout_schedule)


def model_buffer_capacity(config: Config) -> int:
    """Branches of `model_retain_epochs` epochs: older ones were imagined by a model and policy long gone."""
    training = config.training
    rounds = -(-training.model_retain_epochs * training.epoch_length // config.model.train_freq)
    starts = training.model_rollout_batch_size
    if config.model.kind == "oracle":
        starts = min(starts, config.model.oracle.starts)
    return rounds * starts
