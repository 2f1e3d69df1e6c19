"""Imagined rollouts, B rows of H steps by E members on two threads, beside the same networks in torch.

The peers are the best of torch's own options, tried one by one first: layout, precision, compiled or not,
threads inside operations or members side by side. `MBPO_FAST_BENCH_THREADS` changes the number of threads,
`MBPO_FAST_BENCH_COMPILE=0` leaves out what is compiled, which takes minutes.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
THREADS = int(os.environ.get("MBPO_FAST_BENCH_THREADS", "2"))
COMPILE = os.environ.get("MBPO_FAST_BENCH_COMPILE", "1") != "0"
TRIAL_ROWS = 64


@dataclass(frozen=True)
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
    """A policy, an ensemble and an engine with the same weights for every choice of options."""

    def __init__(self, options: Options) -> None:
        self.agent = DDQN(
            DDQNConfig(bf16=options.bf16), stack_size=4, frame_shape=(SIDE, SIDE), num_actions=ACTIONS, seed=0
        )
        config = ModelConfig(
            arch="grid",
            context=8,
            outcome_width=16,
            bf16=options.bf16,
            ensemble_size=MEMBERS,
            num_elites=MEMBERS,
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
        self.context = config.context


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


def roll_out(engine: Any, parts: Parts, rows: int, horizon: int) -> dict[str, np.ndarray]:
    start = np.random.default_rng(0).integers(0, 256, (rows, parts.context, SIDE, SIDE), np.uint8)
    buffer = ModelBuffer(rows, context=4, horizon=horizon)
    written = engine.run(start, parts.agent, parts.model, buffer, horizon=horizon, epsilon=0.05)
    assert written == rows * horizon
    return buffer.export(0, rows)


def _check(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], exact: bool) -> None:
    """The first step; later ones start from frames that may differ."""
    assert np.array_equal(ours["member"][:, 0], theirs["member"][:, 0])
    apart = np.abs(ours["frame"][:, 4].astype(int) - theirs["frame"][:, 4].astype(int))
    assert (ours["action"][:, 0] == theirs["action"][:, 0]).mean() > (0.99 if exact else 0.8)
    assert (apart > 1).mean() < (1e-4 if exact else 0.1)


@pytest.fixture(scope="session")
def best() -> Iterator[Callable[[str], Parts]]:
    """The fastest options of an implementation, found by one short rollout of each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    found: dict[str, Parts] = {}

    def find(impl: str) -> Parts:
        if impl not in found:
            found[impl] = _fastest(impl)
        return found[impl]

    yield find
    torch.set_num_threads(threads)


def _fastest(impl: str) -> Parts:
    plain = Options(bf16=False, channels_last=True, compiled=False, side_by_side=False)
    if impl == "mbpo_fast":
        return Parts(plain)
    spec = roll_out(ENGINES["mbpo_fast"](), Parts(plain), TRIAL_ROWS, 1)
    timed: list[tuple[float, str, Parts]] = []
    for flags in itertools.product((False, True), repeat=4):
        options = Options(*flags)
        if options.compiled and (options.side_by_side or not COMPILE):
            continue  # a compiled network is called from one thread
        parts = Parts(options)
        _check(spec, roll_out(ENGINES[impl](), parts, TRIAL_ROWS, 1), exact=not options.bf16)
        begin = time.perf_counter()
        roll_out(ENGINES[impl](), parts, TRIAL_ROWS, 2)
        timed.append((time.perf_counter() - begin, str(options), parts))
    for seconds, name, _ in sorted(timed, key=lambda entry: entry[0]):
        print(f"{impl}: {seconds / TRIAL_ROWS / 2 * 1e6:.0f} us a row and step: {name}")
    return min(timed, key=lambda entry: entry[0])[2]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
@pytest.mark.benchmark(group="ensemble_rollout")
@pytest.mark.parametrize("impl", ENGINES)
def test_ensemble_rollout(
    benchmark: Any, tag: Callable[..., None], impl: str, turn: int, best: Callable[[str], Parts]
) -> None:
    parts = best(impl)
    tag(impl, f"B {ROWS} H {HORIZON} E {MEMBERS}, {THREADS} threads", ROWS * HORIZON)
    benchmark.pedantic(roll_out, (ENGINES[impl](), parts, ROWS, HORIZON), rounds=2, warmup_rounds=1)
