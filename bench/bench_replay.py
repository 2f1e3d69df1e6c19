"""Replay: add and uniform sample of (obs, next_obs), beside Stable-Baselines3 and cpprb where installed.

All hold 100,000 transitions of 4 environments (cpprb: of one, it knows no lanes), with the peers' options for
sharing frames: SB3's `optimize_memory_usage`, cpprb's `next_of` with and without `stack_compress`. `memcpy`
is the floor: the bytes of a batch copied from places as far apart.
"""

import importlib.util
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from mbpo_fast.data import Batch, ReplayBuffer

TRANSITIONS, ENVS = 100_000, 4
STEPS = TRANSITIONS // ENVS
POOL = np.random.default_rng(0).integers(0, 256, (257, 84, 84), np.uint8)
Stacks = tuple[np.ndarray, np.ndarray]


def frame(step: int) -> np.ndarray:
    return POOL[step % len(POOL)]


def stack(step: int) -> np.ndarray:
    return POOL[np.arange(step, step + 4) % len(POOL)]


class Ours:
    step = -1

    def __init__(self) -> None:
        self.buffer = ReplayBuffer(TRANSITIONS, ENVS)
        self.out: dict[int, Batch] = {}
        self.no, self.zero = np.zeros(ENVS, bool), np.zeros(ENVS, np.int64)
        self.reward = np.zeros(ENVS, np.float32)
        for _ in range(STEPS + 1):
            self.add(*self.next_row())

    def next_row(self) -> tuple[np.ndarray, ...]:
        self.step += 1
        return np.stack([frame(self.step)] * ENVS), np.full(ENVS, self.step == 0)

    def add(self, frames: np.ndarray, begins: np.ndarray) -> None:
        self.buffer.add(frames, self.zero, self.reward, self.no, self.no, begins)

    def sample(self, batch: int) -> Stacks:
        out = self.out.setdefault(batch, Batch.empty(batch))
        self.buffer.sample(batch, out=out)
        return out.obs, out.next_obs


class StableBaselines:
    step = -1

    def __init__(self) -> None:
        from gymnasium.spaces import Box, Discrete
        from stable_baselines3.common.buffers import ReplayBuffer as Peer

        settings = {"device": "cpu", "optimize_memory_usage": True, "handle_timeout_termination": False}
        space = Box(0, 255, (4, 84, 84), np.uint8)
        self.buffer = Peer(TRANSITIONS, space, Discrete(6), n_envs=ENVS, **settings)
        self.zero = np.zeros(ENVS)
        for _ in range(STEPS + 1):
            self.add(*self.next_row())

    def next_row(self) -> Stacks:
        self.step += 1
        return np.stack([stack(self.step)] * ENVS), np.stack([stack(self.step + 1)] * ENVS)

    def add(self, obs: np.ndarray, next_obs: np.ndarray) -> None:
        self.buffer.add(obs, next_obs, self.zero, self.zero, self.zero, [{}] * ENVS)

    def sample(self, batch: int) -> Stacks:
        drawn = self.buffer.sample(batch)
        return drawn.observations.numpy(), drawn.next_observations.numpy()


class Cpprb:
    step = -1

    def __init__(self, compress: bool) -> None:
        from cpprb import ReplayBuffer as Peer

        # With stack_compress the stack is the last axis; without it the layout is ours.
        self.axes = (1, 2, 0) if compress else (0, 1, 2)
        shape = tuple(np.array((4, 84, 84))[list(self.axes)])
        fields = {"obs": {"shape": shape, "dtype": np.uint8}, "act": {"dtype": np.int64}}
        fields |= {"rew": {}, "done": {}}
        option = {"stack_compress": "obs"} if compress else {}
        self.buffer = Peer(TRANSITIONS, fields, next_of="obs", **option)
        self.compress = compress
        for _ in range(STEPS):
            self.add(*self.next_row())

    def next_row(self) -> tuple[np.ndarray, ...]:
        self.step += ENVS
        return tuple(np.transpose(stack(self.step + i), self.axes) for i in range(ENVS + 1))

    def add(self, *stacks: np.ndarray) -> None:
        for obs, next_obs in pairwise(stacks):
            self.buffer.add(obs=obs, next_obs=next_obs, act=0, rew=0.0, done=0.0)

    def sample(self, batch: int) -> Stacks:
        drawn = self.buffer.sample(batch)
        back = (0, 3, 1, 2) if self.compress else (0, 1, 2, 3)
        return drawn["obs"].transpose(back), drawn["next_obs"].transpose(back)


class Memcpy:
    def __init__(self) -> None:
        self.memory = np.empty((TRANSITIONS, 84, 84), np.uint8)
        for step in range(TRANSITIONS):
            self.memory[step] = frame(step)
        self.random = np.random.default_rng(0)
        self.out: dict[int, Stacks] = {}

    def sample(self, batch: int) -> Stacks:
        shape = (batch, 4, 84, 84)
        obs, next_obs = self.out.setdefault(batch, (np.empty(shape, np.uint8), np.empty(shape, np.uint8)))
        for i, start in enumerate(self.random.integers(0, TRANSITIONS - 4, batch)):
            obs[i] = self.memory[start : start + 4]
            next_obs[i] = self.memory[start + 1 : start + 5]
        return obs, next_obs


MAKERS: dict[str, tuple[str, str | None, Callable[[], Any]]] = {
    "mbpo_fast": ("mbpo_fast", None, Ours),
    "memcpy": ("memcpy", None, Memcpy),
    "sb3": ("sb3", "stable_baselines3", StableBaselines),
    "cpprb": ("cpprb", "cpprb", lambda: Cpprb(compress=False)),
    "cpprb-compressed": ("cpprb", "cpprb", lambda: Cpprb(compress=True)),
}


@cache
def buffer_of(name: str) -> Any:
    package = MAKERS[name][1]
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    return MAKERS[name][2]()


def assert_right(obs: np.ndarray, next_obs: np.ndarray) -> None:
    """Every row is four frames in the order they came, and next_obs is one step later."""
    steps = {POOL[i, 0, :8].tobytes(): i for i in range(len(POOL))}
    for now, later in zip(obs, next_obs, strict=True):
        step = steps[now[3, 0, :8].tobytes()]
        before = step - np.arange(3, -1, -1)
        padded = np.array_equal(now[0], now[1])
        assert padded or np.array_equal(now, POOL[before % len(POOL)])
        assert np.array_equal(later, np.concatenate([now[1:], frame(step + 1)[None]]))


@pytest.mark.benchmark(group="replay_sample")
@pytest.mark.parametrize("batch", [32, 256])
@pytest.mark.parametrize("name", list(MAKERS))
def test_replay_sample(benchmark: Any, tag: Callable[..., None], name: str, batch: int, turn: int) -> None:
    buffer = buffer_of(name)
    assert_right(*buffer.sample(batch))
    tag(MAKERS[name][0], f"batch={batch}", batch)
    benchmark(buffer.sample, batch)


@pytest.mark.benchmark(group="replay_add")
@pytest.mark.parametrize("name", [name for name in MAKERS if name != "memcpy"])
def test_replay_add(benchmark: Any, tag: Callable[..., None], name: str, turn: int) -> None:
    buffer = buffer_of(name)
    assert_right(*buffer.sample(32))
    tag(MAKERS[name][0], f"envs={ENVS}", ENVS)
    benchmark.pedantic(buffer.add, setup=lambda: (buffer.next_row(), {}), rounds=300)
    assert_right(*buffer.sample(32))
