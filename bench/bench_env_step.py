"""Env steps a second, beside ale-py's vector environment, EnvPool, and the emulator with nothing around it.

Everybody plays Space Invaders with the same actions, skip 4, max of two screens, 84x84, stack of 4. The bare
bare emulator does four frames and the two screens, and no more: what it reaches is the ceiling.
"""

import functools
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import ale_py
import numpy as np
import pytest
from ale_py import roms

from mbpo_fast import make_vec

ENV_ID = "SpaceInvadersNoFrameskip-v4"
ITEMS = 480
PLAIN = {
    "episodic_life": False,
    "fire_reset": False,
    "clip_reward": False,
    "noop_max": 0,
    "padding_type": "zero",
}
IMPLS = ["mbpo_fast", "ale_vector", "bare_emulator", "envpool"]
# (environments, our workers and the others' threads, halves overlapped); the caller is one of our workers.
CASES = [(1, 0, False), (8, 0, False), (8, 2, False), (8, 2, True)]
Step = Callable[[np.ndarray], Any]


class BareEmulators:
    """`num_envs` emulators, one after the other."""

    def __init__(self, num_envs: int) -> None:
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self.emulators = [ale_py.ALEInterface() for _ in range(num_envs)]
        for emulator in self.emulators:
            emulator.setFloat("repeat_action_probability", 0.0)
            emulator.loadROM(roms.get_rom_path("space_invaders"))
            emulator.reset_game()
        self.actions = self.emulators[0].getMinimalActionSet()
        self.screens = np.empty((2, 210, 160), np.uint8)

    def step(self, actions: np.ndarray) -> None:
        first, second = self.screens
        for emulator, index in zip(self.emulators, actions, strict=True):
            action = self.actions[index]
            for _ in range(3):
                emulator.act(action)
            emulator.getScreenGrayscale(first)
            emulator.act(action)
            emulator.getScreenGrayscale(second)
            if emulator.game_over():
                emulator.reset_game()

    def close(self) -> None:
        self.emulators.clear()


class Overlapped:
    """Two halves of the lanes: one steps while the caller has the other, as an agent that acts would."""

    def __init__(self, num_envs: int, workers: int) -> None:
        half = num_envs // 2
        self.halves = [
            make_vec(ENV_ID, half, workers=workers, first_lane=first, **PLAIN) for first in (0, half)
        ]
        self.under_way = [False, False]
        for env in self.halves:
            env.reset()

    @property
    def worker_pids(self) -> list[int]:
        return [pid for env in self.halves for pid in env.worker_pids]

    def step(self, actions: np.ndarray) -> None:
        for i, (env, part) in enumerate(zip(self.halves, np.split(actions, 2), strict=True)):
            if self.under_way[i]:
                env.step_wait()
            env.step_async(part)
            self.under_way[i] = True

    def close(self) -> None:
        for env in self.halves:
            env.step_wait()
            env.close()


class Asynchronous:
    """A peer's own overlap: it hands out the half of the lanes that is ready first."""

    def __init__(self, env: Any, send: Callable[[Any, np.ndarray, Any], Any], received: Any) -> None:
        self.env, self.send, self.received = env, send, received

    def step(self, actions: np.ndarray) -> None:
        for part in np.split(actions, 2):
            self.send(self.env, part, self.received)
            self.received = self.env.recv()

    def close(self) -> None:
        self.env.close()


def ale_vector(num_envs: int, threads: int, overlapped: bool) -> Any:
    env = ale_py.AtariVectorEnv(
        "space_invaders",
        num_envs,
        batch_size=num_envs // 2 if overlapped else num_envs,
        num_threads=threads,
        noop_max=0,
        use_fire_reset=False,
        reward_clipping=False,
    )
    first = env.reset(seed=0)
    return Asynchronous(env, lambda env, part, _: env.send(part), first) if overlapped else env


def envpool(num_envs: int, threads: int, overlapped: bool) -> Any:
    if importlib.util.find_spec("envpool") is None:
        pytest.skip("envpool is not installed")
    import envpool

    env = envpool.make_gymnasium(
        "SpaceInvaders-v5",
        num_envs=num_envs,
        batch_size=num_envs // 2 if overlapped else num_envs,
        num_threads=threads,
        repeat_action_probability=0.0,
        noop_max=1,
    )
    if not overlapped:
        env.reset()
        return env
    env.async_reset()
    return Asynchronous(env, lambda env, part, last: env.send(part, last[-1]["env_id"]), env.recv())


def build(impl: str, num_envs: int, workers: int, overlapped: bool = False) -> Any:
    threads = max(workers, 1)
    if impl == "ale_vector":
        return ale_vector(num_envs, threads, overlapped)
    if impl == "envpool":
        return envpool(num_envs, threads, overlapped)
    if impl == "bare_emulator":
        return BareEmulators(num_envs)
    if overlapped:
        return Overlapped(num_envs, workers)
    env = make_vec(ENV_ID, num_envs, workers=workers, caller_plays=True, **PLAIN)
    env.reset()
    return env


def actions_of(num_envs: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 6, (ITEMS // num_envs, num_envs))


@functools.cache
def assert_same_play(num_envs: int, workers: int) -> None:
    """Ours against ale-py's, to the byte, up to the first end: there the stale screens differ."""
    ours, theirs = build("mbpo_fast", num_envs, workers), build("ale_vector", num_envs, 1)
    for actions in actions_of(num_envs)[:50]:
        got, want = ours.step(actions), theirs.step(actions)
        if want[2].any():
            break
        assert np.array_equal(got[0], want[0])
        assert np.array_equal(got[1], want[1])
    ours.close()
    theirs.close()


def cpu_seconds(env: Any) -> float:
    """CPU time of this process, its threads and the running workers."""
    pool = getattr(env, "worker_pids", ())
    # Linux names the CPU clock of another process by the complement of its id.
    return time.process_time() + sum(time.clock_gettime((~pid << 3) | 2) for pid in pool)


def play(step: Step, actions: np.ndarray) -> None:
    for row in actions:
        step(row)


def case_of(num_envs: int, workers: int, overlapped: bool) -> str:
    return f"{num_envs} envs, {max(workers, 1)} at a time{', halves overlapped' if overlapped else ''}"


def skip_impossible(impl: str, workers: int) -> None:
    if impl == "bare_emulator" and workers:
        pytest.skip("the bare emulator runs in one process")


@pytest.mark.benchmark(group="env_step_wall")
@pytest.mark.parametrize(("num_envs", "workers", "overlapped"), CASES)
@pytest.mark.parametrize("impl", IMPLS)
def test_env_step_wall(
    benchmark: Any, tag: Any, impl: str, num_envs: int, workers: int, overlapped: bool, turn: int
) -> None:
    skip_impossible(impl, workers)
    assert_same_play(num_envs, workers)
    env = build(impl, num_envs, workers, overlapped)
    actions = actions_of(num_envs)
    tag(impl, case_of(num_envs, workers, overlapped), actions.size)
    benchmark.pedantic(play, (env.step, actions), rounds=2, warmup_rounds=1)
    env.close()


@pytest.mark.benchmark(group="env_step_cpu")
@pytest.mark.parametrize(("num_envs", "workers", "overlapped"), CASES)
@pytest.mark.parametrize("impl", IMPLS)
def test_env_step_cpu(
    benchmark: Any, tag: Any, impl: str, num_envs: int, workers: int, overlapped: bool, turn: int
) -> None:
    skip_impossible(impl, workers)
    assert_same_play(num_envs, workers)
    env = build(impl, num_envs, workers, overlapped)
    actions = actions_of(num_envs)
    tag(impl, case_of(num_envs, workers, overlapped), actions.size)
    play(env.step, actions)
    before = cpu_seconds(env)
    benchmark.pedantic(play, (env.step, actions), rounds=2)
    benchmark.extra_info["seconds_per_item"] = (cpu_seconds(env) - before) / (2 * actions.size)
    env.close()
