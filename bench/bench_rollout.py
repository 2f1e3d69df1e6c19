"""Imagined rollouts, B rows of H steps by E members on two threads, beside the same networks in torch.

Each peer takes the best of torch's own options, tried one by one first on rollouts of two steps: precision,
layout, threads inside operations or members side by side; then the best of these compiled.
`MBPO_FAST_BENCH_THREADS` changes the number of threads, `MBPO_FAST_BENCH_COMPILE=0` leaves out what is
compiled, which takes minutes a network at first.
"""

import dataclasses
import functools
import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mbpo_fast.agents import DDQN
from mbpo_fast.agents.ddqn import DDQNConfig
from mbpo_fast.data import ModelBuffer
from mbpo_fast.models import FusedRolloutEngine, ModelConfig, RolloutEngine, WorldModel

ROWS, HORIZON, MEMBERS, ACTIONS, SIDE = 256, 5, 5, 6, 84
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "clock": {"arch": "clock"},
    "grid": {"arch": "grid", "context": 8, "outcome_width": 16},
}
THREADS = int(os.environ.get("MBPO_FAST_BENCH_THREADS", "2"))
COMPILE = os.environ.get("MBPO_FAST_BENCH_COMPILE", "1") != "0"
CHECK_ROWS, TRIAL_STEPS = 64, 2


@dataclasses.dataclass(frozen=True)
class Options:
    """Torch's choices."""

    bf16: bool
    channels_last: bool
    compiled: bool
    side_by_side: bool

    def __str__(self) -> str:
        return ", ".join(
            (
                "bf16" if self.bf16 else "f32",
                "channels last" if self.channels_last else "contiguous",
                "compiled" if self.compiled else "eager",
                "members side by side" if self.side_by_side else "threads inside operations",
            )
        )


class Parts:
    """A policy and an ensemble with the same weights for every choice of options."""

    def __init__(self, arch: str, options: Options) -> None:
        self.agent = DDQN(
            DDQNConfig(bf16=options.bf16), stack_size=4, frame_shape=(SIDE, SIDE), num_actions=ACTIONS, seed=0
        )
        config = ModelConfig(
            bf16=options.bf16, ensemble_size=MEMBERS, num_elites=MEMBERS, **ARCHITECTURES[arch]
        )
        self.model = WorldModel(
            config,
            frame_shape=(SIDE, SIDE),
            num_actions=ACTIONS,
            seed=0,
            threads=THREADS if options.side_by_side else 1,
        )
        self.model.end_threshold = 1.0  # every branch has its full length
        _set_heads(self.model.members)
        layout = torch.channels_last if options.channels_last else torch.contiguous_format
        for net in (self.agent.online, self.agent.target, *self.model.members):
            net.to(memory_format=layout)
            if options.compiled:
                net.compile(dynamic=True)
        self.context, self.options = config.context, options


Trial = tuple[float, Options, Parts]


class AllMembers(RolloutEngine):
    """Every member on every row, of which the drawn member's word is taken."""

    def run(self, start: Any, policy: Any, model: Any, buffer: Any, **settings: Any) -> int:
        return super().run(start, policy, _All(model), buffer, **settings)


class _All:
    def __init__(self, model: WorldModel) -> None:
        self.model, self.elites = model, model.elites

    def step(self, context: Tensor, action: Tensor, member: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        members = range(len(self.model.members))
        said = self.model.each(lambda m: self.model.predict(context, action, m), members)
        rows = torch.arange(len(context))
        frame, reward_probs, end = (torch.stack(part)[member, rows] for part in zip(*said, strict=True))
        return frame, self.model.decide_reward(reward_probs), end > self.model.end_threshold


ENGINES: dict[str, Callable[[], Any]] = {
    "mbpo_fast": lambda: FusedRolloutEngine(seed=0, threads=THREADS),
    "torch_routed": lambda: RolloutEngine(seed=0),
    "torch_all_members": lambda: AllMembers(seed=0),
}


def _set_heads(members: nn.ModuleList) -> None:
    """A fresh member changes nothing; these change some pixels, all of them alike in every variant."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for net in members:
            net.head.weight.normal_(0, 0.05)
            net.head.bias.zero_()


@functools.cache
def _starts(rows: int, context: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, context, SIDE, SIDE), np.uint8)


def prepare(engine: Any, parts: Parts, rows: int, horizon: int) -> tuple[Any, ...]:
    """The arguments of `roll_out`."""
    return engine, parts, _starts(rows, parts.context), ModelBuffer(rows, context=4, horizon=horizon), horizon


def roll_out(engine: Any, parts: Parts, start: np.ndarray, buffer: ModelBuffer, horizon: int) -> None:
    """What is measured."""
    written = engine.run(start, parts.agent, parts.model, buffer, horizon=horizon, epsilon=0.05)
    assert written == len(start) * horizon


def first_step(engine: Any, parts: Parts) -> dict[str, np.ndarray]:
    """What a short rollout wrote."""
    arguments = prepare(engine, parts, CHECK_ROWS, 1)
    roll_out(*arguments)
    buffer: ModelBuffer = arguments[3]
    return buffer.export(0, CHECK_ROWS)


def _check(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], exact: bool) -> None:
    """The first step; later ones start from frames that may differ."""
    assert np.array_equal(ours["member"][:, 0], theirs["member"][:, 0])
    apart = np.abs(ours["frame"][:, 4].astype(int) - theirs["frame"][:, 4].astype(int))
    assert (ours["action"][:, 0] == theirs["action"][:, 0]).mean() > (0.99 if exact else 0.8)
    assert (apart > 1).mean() < (1e-4 if exact else 0.1)


Choose = Callable[[str, str], Parts]


@pytest.fixture(scope="session")
def best() -> Iterator[Choose]:
    """The parts of an architecture with the fastest options for an implementation."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield _fastest
    torch.set_num_threads(threads)


@functools.cache
def _parts(arch: str, options: Options) -> Parts:
    return Parts(arch, options)


@functools.cache
def _fastest(arch: str, impl: str) -> Parts:
    if impl == "mbpo_fast":
        return _fastest(arch, "torch_routed")  # the core asks for weights alone
    plain = [Options(*flags[:2], False, flags[2]) for flags in itertools.product((False, True), repeat=3)]
    spec = first_step(ENGINES["mbpo_fast"](), _parts(arch, plain[0]))
    timed = [_try(arch, impl, options, spec) for options in plain]
    if COMPILE:
        # The best layout of each precision; a compiled network is called from one thread.
        for bf16 in (False, True):
            _, options, _ = min((t for t in timed if t[1].bf16 == bf16), key=_seconds)
            compiled = dataclasses.replace(options, compiled=True, side_by_side=False)
            timed.append(_try(arch, impl, compiled, spec))
    for seconds, options, _ in sorted(timed, key=_seconds):
        print(f"{arch}, {impl}: {seconds / ROWS / TRIAL_STEPS * 1e6:.0f} us a row and step: {options}")
    return min(timed, key=_seconds)[2]


def _seconds(trial: Trial) -> float:
    return trial[0]


def _try(arch: str, impl: str, options: Options, spec: dict[str, np.ndarray]) -> Trial:
    """Seconds of a short rollout, after one that compiles and is checked."""
    parts = _parts(arch, options)
    engine = ENGINES[impl]
    _check(spec, first_step(engine(), parts), exact=not options.bf16)
    times = []
    for _ in range(2):  # batches of other sizes compile once more
        arguments = prepare(engine(), parts, ROWS, TRIAL_STEPS)
        begin = time.perf_counter()
        roll_out(*arguments)
        times.append(time.perf_counter() - begin)
    return min(times), options, parts


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
@pytest.mark.benchmark(group="ensemble_rollout")
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("impl", ENGINES)
def test_ensemble_rollout(
    benchmark: Any, tag: Callable[..., None], impl: str, arch: str, turn: int, best: Choose
) -> None:
    parts = best(arch, impl)
    ours, theirs = (first_step(ENGINES[name](), parts) for name in ("mbpo_fast", impl))
    _check(ours, theirs, exact=not parts.options.bf16)
    tag(impl, f"{arch}, B {ROWS} H {HORIZON} E {MEMBERS}, {THREADS} threads", ROWS * HORIZON)
    fresh = functools.partial(prepare, ENGINES[impl](), parts, ROWS, HORIZON)
    benchmark.pedantic(roll_out, setup=lambda: (fresh(), {}), rounds=2, warmup_rounds=1)
