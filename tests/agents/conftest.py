"""A small learner and batches for the tests of DDQN."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from mbpo_fast.agents import DDQN, DDQNConfig
from mbpo_fast.data import Batch

SIDE, ACTIONS, ROWS = 36, 4, 8


def _agent(**settings: object) -> DDQN:
    return DDQN(
        DDQNConfig(**({"hidden": 16, "bf16": False} | settings)),
        stack_size=4,
        frame_shape=(SIDE, SIDE),
        num_actions=ACTIONS,
        seed=3,
    )


def _batch(seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    rows = Batch.empty(ROWS, 4, (SIDE, SIDE))
    rows.obs[:] = rng.integers(0, 256, rows.obs.shape)
    rows.next_obs[:] = rng.integers(0, 256, rows.obs.shape)
    rows.action[:] = rng.integers(0, ACTIONS, ROWS)
    rows.reward[:] = rng.normal(size=ROWS)
    rows.discount[:] = 0.9 * (rng.random(ROWS) < 0.7)
    rows.weight[:] = 1.0
    return rows


def _perturb(net: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


@pytest.fixture
def agent() -> Callable[..., DDQN]:
    return _agent


@pytest.fixture
def batch() -> Callable[..., Batch]:
    return _batch


@pytest.fixture
def perturb() -> Callable[[torch.nn.Module], None]:
    return _perturb
