"""Replay: add and sample (obs, next_obs), beside Stable-Baselines3 and cpprb where installed.

All hold 100,000 transitions of 4 environments (cpprb: of one, it knows no lanes), with the peers' options for
sharing frames: SB3's `optimize_memory_usage`, cpprb's `next_of` with and without `stack_compress`. Neither
can copy a batch by more than one thread; ours does by default, and is shown on one thread beside it.
`memcpy` is the floor: the bytes of a batch copied from places as far apart. With 1,000,000 transitions those
are measured that fit into free memory: peers that store stacks need 28 GB.
"""

import importlib.util
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from mbpo_fast.data import Batch, PrioritizedReplayBuffer, ReplayBuffer

ENVS = 4
SMALL, LARGE = 100_000, 1_000_000
FRAME = 84 * 84
POOL = np.random.default_rng(0).integers(0, 256, (257, 84, 84), np.uint8)
Stacks = tuple[np.ndarray, np.ndarray]


def frame(step: int) -> np.ndarray:
    return POOL[step % len(POOL)]


def stack(step: int) -> np.ndarray:
    return POOL[np.arange(step, step + 4) % len(POOL)]


class Ours:
    step = -1
    make = ReplayBuffer

    def __init__(self, transitions: int) -> None:
        self.buffer = self.make(transitions, ENVS)
        self.out: dict[int, Batch] = {}
        self.no, self.zero = np.zeros(ENVS, bool), np.zeros(ENVS, np.int64)
        self.reward = np.zeros(ENVS, np.float32)
        for _ in range(transitions // ENVS + 1):
            self.add(*self.next_row())

    def next_row(self) -> tuple[np.ndarray, ...]:
        self.step += 1
        return np.stack([frame(self.step)] * ENVS), np.full(ENVS, self.step == 0)

    def add(self, frames: np.ndarray, begins: np.ndarray) -> None:
        self.buffer.add(frames, self.zero, self.reward, self.no, self.no, begins)

    def sample(self, batch: int) -> Stacks:
        out = self.out.setdefault(batch, Batch.empty(batch, windows=True))
        self.buffer.sample(batch, out=out)
        return out.obs, out.next_obs


class OursPrioritized(Ours):
    make = PrioritizedReplayBuffer


class OursOnOneThread(Ours):
    make = partial(ReplayBuffer, num_threads=1)


class OursPrioritizedOnOneThread(Ours):
    make = partial(PrioritizedReplayBuffer, num_threads=1)


class StableBaselines:
    step = -1

    def __init__(self, transitions: int) -> None:
        from gymnasium.spaces import Box, Discrete
        from stable_baselines3.common.buffers import ReplayBuffer as Peer

        settings = {"device": "cpu", "optimize_memory_usage": True, "handle_timeout_termination": False}
        space = Box(0, 255, (4, 84, 84), np.uint8)
        self.buffer = Peer(transitions, space, Discrete(6), n_envs=ENVS, **settings)
        self.zero = np.zeros(ENVS)
        for _ in range(transitions // ENVS + 1):
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

    def __init__(self, transitions: int, compress: bool) -> None:
        from cpprb import ReplayBuffer as Peer

        # With stack_compress the stack is the last axis; without it the layout is ours.
        self.axes = (1, 2, 0) if compress else (0, 1, 2)
        shape = tuple(np.array((4, 84, 84))[list(self.axes)])
        fields = {"obs": {"shape": shape, "dtype": np.uint8}, "act": {"dtype": np.int64}}
        fields |= {"rew": {}, "done": {}}
        option = {"stack_compress": "obs"} if compress else {}
        self.buffer = Peer(transitions, fields, next_of="obs", **option)
        self.compress = compress
        for _ in range(transitions // ENVS):
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
    def __init__(self, transitions: int) -> None:
        self.memory = np.empty((transitions, 84, 84), np.uint8)
        for step in range(transitions):
            self.memory[step] = frame(step)
        self.random = np.random.default_rng(0)
        self.out: dict[int, Stacks] = {}

    def sample(self, batch: int) -> Stacks:
        shape = (batch, 4, 84, 84)
        obs, next_obs = self.out.setdefault(batch, (np.empty(shape, np.uint8), np.empty(shape, np.uint8)))
        for i, start in enumerate(self.random.integers(0, len(self.memory) - 4, batch)):
            obs[i] = self.memory[start : start + 4]
            next_obs[i] = self.memory[start + 1 : start + 5]
        return obs, next_obs


class Maker(NamedTuple):
    """Its name in the table, the package it needs, how to build it, and the frames of a transition."""

    impl: str
    package: str | None
    make: Callable[[int], Any]
    frames: int


MAKERS = {
    "mbpo_fast": Maker("mbpo_fast", None, Ours, 1),
    "mbpo_fast-prioritized": Maker("mbpo_fast_prioritized", None, OursPrioritized, 1),
    "mbpo_fast-1-thread": Maker("mbpo_fast_1_thread", None, OursOnOneThread, 1),
    "mbpo_fast-prioritized-1-thread": Maker(
        "mbpo_fast_prioritized_1_thread", None, OursPrioritizedOnOneThread, 1
    ),
    "memcpy": Maker("memcpy", None, Memcpy, 1),
    "sb3": Maker("sb3", "stable_baselines3", StableBaselines, 4),
    "cpprb": Maker("cpprb", "cpprb", lambda transitions: Cpprb(transitions, compress=False), 4),
    "cpprb-compressed": Maker("cpprb", "cpprb", lambda transitions: Cpprb(transitions, compress=True), 1),
}


def free_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    return kilobytes[0] * 1024 if kilobytes else 0


BUFFERS: dict[tuple[str, int], Any] = {}


def buffer_of(name: str, transitions: int) -> Any:
    """Built once; of the large ones only the last is kept."""
    if (name, transitions) in BUFFERS:
        return BUFFERS[name, transitions]
    for key in [key for key in BUFFERS if key[1] > SMALL]:
        del BUFFERS[key]
    maker = MAKERS[name]
    if maker.package and importlib.util.find_spec(maker.package) is None:
        pytest.skip(f"{maker.package} is not installed")
    need = int(1.1 * transitions * maker.frames * FRAME)
    if transitions > SMALL and need > free_bytes():
        pytest.skip(f"{name} needs {need / 1e9:.0f} GB for {transitions} transitions")
    BUFFERS[name, transitions] = maker.make(transitions)
    return BUFFERS[name, transitions]


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
@pytest.mark.parametrize(
    ("name", "transitions", "batch"),
    [
        *((name, SMALL, batch) for name in MAKERS for batch in (32, 256)),
        *((name, LARGE, 256) for name in MAKERS),
    ],
)
def test_replay_sample(
    benchmark: Any, tag: Callable[..., None], name: str, transitions: int, batch: int, turn: int
) -> None:
    buffer = buffer_of(name, transitions)
    assert_right(*buffer.sample(batch))
    if transitions > SMALL:
        # A host takes memory away that lies idle: the first to draw from a large ring would pay for all.
        for _ in range(2 * transitions // (5 * batch)):
            buffer.sample(batch)
    tag(MAKERS[name].impl, f"batch={batch}, ring={transitions}", batch)
    benchmark(buffer.sample, batch)


@pytest.mark.benchmark(group="replay_add")
@pytest.mark.parametrize("name", [name for name in MAKERS if name != "memcpy"])
def test_replay_add(benchmark: Any, tag: Callable[..., None], name: str, turn: int) -> None:
    buffer = buffer_of(name, SMALL)
    assert_right(*buffer.sample(32))
    tag(MAKERS[name].impl, f"envs={ENVS}", ENVS)
    benchmark.pedantic(buffer.add, setup=lambda: (buffer.next_row(), {}), rounds=300)
    assert_right(*buffer.sample(32))
