"""Imagined rollouts on a GPU beside torch's best there: collected only with a CUDA device and the extension.

Everything lies on the device on both sides. Torch's networks are in bfloat16, channels last: all members on
all rows, or each row by its member alone. They are compiled with max-autotune, with or without CUDA graphs,
or not at all, whichever rolls out fastest in a trial of the same kind. `peak_bytes` is the most memory that
torch's allocator held in a round, start frames and branches included.
"""

import functools
import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mbpo_fast.agents import DDQN
from mbpo_fast.agents.ddqn import DDQNConfig
from mbpo_fast.data import ModelBuffer, ReplayBuffer
from mbpo_fast.models import GpuRolloutEngine, ModelConfig, WorldModel
from mbpo_fast.ops import Stream, random_integers
from mbpo_fast.ops.gpu_device import CudaDevice, Device

pytestmark = pytest.mark.cuda

SIZES = [(rows, horizon) for rows in (1_024, 16_384, 100_000) for horizon in (1, 5, 15)]
MEMBERS, ACTIONS, SIDE, STACK = 5, 6, 84, 4
CHUNK = 16_384
"""Rows that torch takes at a time: the activations of more do not fit beside 100,000 starts."""
TRIAL_ROWS = 64
MODES = (None, "max-autotune-no-cudagraphs", "max-autotune")
"""How torch may compile; None: not at all."""
MODE_ROWS = 4_096
LOTS, LOT = 8, 512


class Parts:
    """A policy that never explores and an ensemble whose branches never end, with fixed weights."""

    def __init__(self, arch: str, device: Device, networks: torch.device, *, mode: str | None) -> None:
        self.device = device
        shape: dict[str, Any] = {"frame_shape": (SIDE, SIDE), "num_actions": ACTIONS, "seed": 0}
        self.agent = DDQN(DDQNConfig(bf16=True), stack_size=STACK, device=networks, **shape)
        config = ModelConfig(arch=arch, bf16=True, ensemble_size=MEMBERS, num_elites=MEMBERS)
        self.model = WorldModel(config, device=networks, **shape)
        self.model.end_threshold = 1.0
        self.context = config.context
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            for net in self.model.members:
                weight = net.get_parameter("head.weight")
                weight.copy_(torch.empty(weight.shape).normal_(0, 0.05))
        for net in (self.agent.online, *self.model.members):
            net.to(memory_format=torch.channels_last)
            if mode is not None:
                net.compile(mode=mode)

    def starts(self, rows: int) -> Any:
        """Frames u8 [rows, C, h, w] on the device, the same in every call; row 1024 is row 0 again."""
        given = np.random.default_rng(0).integers(
            0, 256, (min(rows, 1024), self.context, SIDE, SIDE), np.uint8
        )
        start = self.device.empty((rows, *given.shape[1:]), np.uint8)
        for first in range(0, rows, len(given)):
            start[first : first + len(given)] = self.device.put(given)[: rows - first]
        return start


class Ours:
    """The engine into a model buffer on the device."""

    def __init__(self, parts: Parts, rows: int, horizon: int) -> None:
        self.parts, self.rows, self.horizon = parts, rows, horizon
        self.engine = GpuRolloutEngine(parts.device, seed=0)
        self.buffer = ModelBuffer(rows, context=STACK, horizon=horizon, device=parts.device)
        self.start = parts.starts(rows)

    def run(self) -> None:
        """One rollout."""
        self.engine.steps = 0
        written = self.engine.run(
            self.start, self.parts.agent, self.parts.model, self.buffer, horizon=self.horizon, epsilon=0.0
        )
        assert written == self.rows * self.horizon

    def first_step(self) -> tuple[np.ndarray, np.ndarray]:
        """Frames u8 [B, h, w] and actions i64 [B] of the newest rollout's first step."""
        branches = self.buffer.export(self.buffer.total - self.rows, self.buffer.total)
        return branches["frame"][:, STACK], branches["action"][:, 0]


class Torchs:
    """The same in torch: frames in one tensor on the device, of which every step sees a slice."""

    def __init__(self, parts: Parts, rows: int, horizon: int, *, routed: bool) -> None:
        self.parts, self.rows, self.horizon, self.routed = parts, rows, horizon, routed
        where = parts.model.device
        self.frames = torch.empty(
            (rows, parts.context + horizon, SIDE, SIDE), dtype=torch.uint8, device=where
        )
        self.frames[:, : parts.context] = torch.as_tensor(parts.starts(rows))
        self.actions = torch.empty((rows, horizon), dtype=torch.int64, device=where)
        self.outcomes = torch.empty((rows, horizon, 2), device=where)

    @torch.no_grad()
    def run(self) -> None:
        """One rollout; the members are those that ours draws."""
        for step in range(self.horizon):
            place = random_integers(0, Stream.ROLLOUT_MEMBER, step, self.rows, MEMBERS)
            member = np.asarray(self.parts.model.elites)[place]
            for first in range(0, self.rows, CHUNK):
                self._step(step, slice(first, first + CHUNK), member[first : first + CHUNK])
        if self.frames.is_cuda:
            torch.cuda.synchronize()

    def _step(self, step: int, rows: slice, member: np.ndarray) -> None:
        model, now = self.parts.model, self.parts.context + step
        context = self.frames[rows, step:now]
        action = self.parts.agent.q_values(context[:, -STACK:]).argmax(dim=1)
        if self.routed:
            said = model.step(context, action, torch.from_numpy(member))
        else:
            said = self._ask_all(context, action, torch.from_numpy(member).to(action.device))
        frame, reward, terminated = said
        self.frames[rows, now], self.actions[rows, step] = frame, action
        self.outcomes[rows, step] = torch.stack((reward, terminated.float()), dim=1)

    def _ask_all(self, context: Tensor, action: Tensor, member: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        model = self.parts.model
        said = [model.predict(context, action, m) for m in range(MEMBERS)]
        lane = torch.arange(len(action), device=action.device)
        frame, reward_probs, end = (torch.stack(part)[member, lane] for part in zip(*said, strict=True))
        return frame, *model.decide(reward_probs, end)

    def first_step(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Ours.first_step`."""
        return self.frames[:, self.parts.context].cpu().numpy(), self.actions[:, 0].cpu().numpy()


ENGINES: dict[str, Callable[..., Any]] = {
    "mbpo_fast": Ours,
    "torch_routed": functools.partial(Torchs, routed=True),
    "torch_all_members": functools.partial(Torchs, routed=False),
}


def check(ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]) -> None:
    """bfloat16 on both sides: nearly all actions, and nearly all pixels within a gray level."""
    alike = ours[1] == theirs[1]
    assert alike.mean() > 0.8
    apart = np.abs(ours[0][alike].astype(int) - theirs[0][alike].astype(int))
    assert (apart > 1).mean() < 0.1


Choose = Callable[..., Parts]


@pytest.fixture(scope="module")
def parts() -> Iterator[Choose]:
    """The parts of an architecture with torch's fastest mode for an implementation."""
    device = CudaDevice()
    made = functools.cache(lambda arch, mode: Parts(arch, device, device.device, mode=mode))

    def seconds(arch: str, impl: str, mode: str | None) -> float:
        trial = ENGINES[impl](made(arch, mode), MODE_ROWS, 2)
        times = []
        for _ in range(4):  # the first ones compile
            begin = time.perf_counter()
            trial.run()
            times.append(time.perf_counter() - begin)
        print(f"{arch}, {impl}, {mode or 'eager'}: {min(times) / MODE_ROWS / 2 * 1e6:.2f} us a row and step")
        return min(times)

    @functools.cache
    def choose(arch: str, impl: str = "mbpo_fast") -> Parts:
        if impl == "mbpo_fast":
            return made(arch, None)
        return made(arch, min(MODES, key=functools.partial(seconds, arch, impl)))

    yield choose
    torch.cuda.empty_cache()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
@pytest.mark.benchmark(group="ensemble_rollout_gpu")
@pytest.mark.parametrize("arch", ["clock", "grid"])
@pytest.mark.parametrize(("rows", "horizon"), SIZES)
@pytest.mark.parametrize("impl", ENGINES)
def test_ensemble_rollout(
    benchmark: Any,
    tag: Callable[..., None],
    impl: str,
    rows: int,
    horizon: int,
    arch: str,
    turn: int,
    parts: Choose,
) -> None:
    both = [ENGINES[name](parts(arch, name), TRIAL_ROWS, 1) for name in ("mbpo_fast", impl)]
    for one in both:
        one.run()
    check(*(one.first_step() for one in both))
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    measured = ENGINES[impl](parts(arch, impl), rows, horizon)
    tag(impl, f"{arch}, B {rows} H {horizon} E {MEMBERS}", rows * horizon)
    benchmark.pedantic(measured.run, rounds=3, warmup_rounds=2)
    benchmark.extra_info["peak_bytes"] = torch.cuda.max_memory_allocated()


class Round:
    """A training round's imagination: starts from the replay buffer, branches into the model buffer."""

    def __init__(self, parts: Parts, frames: Device | None) -> None:
        self.parts, self.engine = parts, GpuRolloutEngine(parts.device, seed=0)
        self.replay = ReplayBuffer(10_000, 4, device=frames)
        self.buffer = ModelBuffer(LOTS * LOT, context=STACK, horizon=5, device=frames)
        rng = np.random.default_rng(0)
        no, still = np.zeros(4, bool), np.zeros(4)
        for step in range(2_000):
            frame = rng.integers(0, 256, (4, SIDE, SIDE), np.uint8)
            self.replay.add(frame, still.astype(int), still, no, no, np.full(4, step == 0))
        self.ids = self.replay.valid_ids(context=parts.context)[: LOTS * LOT]

    def run(self) -> None:
        """Every lot; returns when the last branch is in the buffer."""
        for first in range(0, len(self.ids), LOT):
            start = self.replay.stacks(self.ids[first : first + LOT], self.parts.context)
            self.engine.run(start, self.parts.agent, self.parts.model, self.buffer, horizon=5, epsilon=0.0)


@pytest.mark.benchmark(group="synthetic_steps")
@pytest.mark.parametrize("frames", ["device", "host"])
def test_synthetic_steps(
    benchmark: Any, tag: Callable[..., None], frames: str, turn: int, parts: Choose
) -> None:
    """Steps of a training round, frames on the device beside frames that cross to it and back."""
    clock = parts("clock")
    rounds = {"device": Round(clock, clock.device), "host": Round(clock, None)}
    for one in rounds.values():
        one.run()
    ours, theirs = (one.buffer.export(0, LOT) for one in rounds.values())
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    tag("mbpo_fast" if frames == "device" else "frames_on_host", "clock, 8 lots of 512, H 5", LOTS * LOT * 5)
    benchmark.pedantic(rounds[frames].run, rounds=3, warmup_rounds=1)
