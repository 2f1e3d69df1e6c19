"""One training step of the ensemble: members side by side, batched as we train, and one after another.

Both forms do the same arithmetic; the answers are asserted before anything is timed.
"""

import os
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mbpo_fast.models import ModelConfig, WorldModel
from mbpo_fast.models.losses import total_loss

ROWS, SIDE, ACTIONS = 32, 84, 6
CONFIG = ModelConfig(outcome_dropout=0)
CASE = f"clock {CONFIG.ensemble_size} members, batch {ROWS}, context {CONFIG.context}"


def world(threads: int) -> WorldModel:
    model = WorldModel(CONFIG, frame_shape=(SIDE, SIDE), num_actions=ACTIONS, seed=0, threads=threads)
    generator = torch.Generator().manual_seed(0)
    for net in model.learners:
        # It is zero before any training, and nothing below it would have a gradient to compare.
        net.head.weight.data.normal_(std=0.1, generator=generator)
    return model


def batch() -> list[Tensor]:
    """Rows of all members, [E, B, ...]: context, action, next frame, reward, end."""
    rng = np.random.default_rng(0)
    lead = (CONFIG.ensemble_size, ROWS)
    screens = rng.integers(0, 256, (*lead, CONFIG.context + 1, SIDE, SIDE), dtype=np.uint8)
    action, reward, end = rng.integers(0, ACTIONS, lead), rng.random(lead) < 0.25, rng.random(lead) < 0.1
    columns = (screens[:, :, :-1], action, screens[:, :, -1], reward.astype(np.float32), end)
    return [torch.from_numpy(np.ascontiguousarray(column)) for column in columns]


def plain_loop(model: WorldModel, rows: list[Tensor]) -> None:
    """A step of every member by the book, one after another, each with its own optimiser call."""
    for member, net in enumerate(model.learners):
        model.optimizer.zero_grad()
        total_loss(model.losses(net, *(column[member] for column in rows))).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), CONFIG.max_grad_norm)
        model.optimizer.step()


def run(benchmark: Any, function: Any) -> None:
    benchmark.pedantic(function, rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="model_fit")
@pytest.mark.parametrize("impl", ["mbpo_fast", "torch_loop"])
def test_training_step(benchmark: Any, tag: Any, impl: str, turn: int) -> None:
    rows, threads = batch(), len(os.sched_getaffinity(0))
    ours, loop = world(threads), world(1)
    ours.update(*rows)
    plain_loop(loop, rows)
    for a, b in zip(ours.learners.parameters(), loop.learners.parameters(), strict=True):
        assert a.grad is not None
        # Adam's first step is the sign of a gradient: where that is nothing but rounding, it may be either.
        told = a.grad.abs() > 1e-6
        assert told.any()
        assert torch.allclose(a[told], b[told], atol=1e-6), "the same step"
    tag(impl, CASE, CONFIG.ensemble_size * ROWS)
    run(benchmark, lambda: ours.update(*rows) if impl == "mbpo_fast" else plain_loop(loop, rows))
