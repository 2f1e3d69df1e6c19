"""Networks are packed for a rollout when a weight has changed, by whatever it was, and only then."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from rollout_parts import SIDE, agent, contexts, world

from mbpo_fast.agents import DDQN
from mbpo_fast.data import Batch, ModelBuffer
from mbpo_fast.models import FusedRolloutEngine, WorldModel
from mbpo_fast.models.packed import RolloutNetworks

START = (3, 5, SIDE, SIDE)


class Counted:
    """How often each of the two networks was packed."""

    def __init__(self) -> None:
        self.policies = self.worlds = 0
        self.networks: RolloutNetworks[Any] = RolloutNetworks(self._policy, self._world)
        self.policy = agent()
        self.model = world(2, context=5, width=16, depth=1, outcome_width=8)

    def _policy(self, packed: Any) -> Any:
        self.policies += 1
        return packed

    def _world(self, packed: Any) -> Any:
        self.worlds += 1
        return packed

    def get(self, shape: tuple[int, ...] = START) -> tuple[int, int]:
        self.networks.get(shape, self.policy, self.model)
        return self.policies, self.worlds


def learn(policy: DDQN, _: WorldModel) -> None:
    """By a fused optimiser, which leaves the version counters of its tensors as they are."""
    batch = Batch.empty(4, 4, (SIDE, SIDE))
    for column in batch.arrays().values():
        column[...] = 1
    policy.update(batch)


def fit(_: DDQN, model: WorldModel) -> None:
    rows = torch.from_numpy(contexts(4, 6)).view(2, 2, 6, SIDE, SIDE)
    zeros = torch.zeros(2, 2)
    model.update(rows[:, :, :5], zeros.long(), rows[:, :, 5], zeros, zeros.bool())


def restore(_: DDQN, model: WorldModel) -> None:
    model.members[1].load_state_dict(model.members[0].state_dict())


@pytest.mark.parametrize(
    ("change", "packed"), [(learn, (2, 1)), (fit, (1, 2)), (restore, (1, 2)), (lambda *_: None, (1, 1))]
)
def test_what_has_changed_is_packed_again(
    change: Callable[[DDQN, WorldModel], None], packed: tuple[int, int]
) -> None:
    counted = Counted()
    assert counted.get() == counted.get() == (1, 1)
    change(counted.policy, counted.model)
    assert counted.get() == counted.get() == packed


def test_another_network_with_equal_weights_is_packed_again() -> None:
    counted = Counted()
    counted.get()
    counted.policy = agent()
    assert counted.get() == (2, 1)


def test_more_rows_need_no_packing_and_another_shape_is_refused() -> None:
    counted = Counted()
    assert counted.get() == counted.get((9, *START[1:])) == (1, 1)
    with pytest.raises(ValueError, match=r"\[rollout\] expected start u8 \[B, C, h, w\], got 3 dimensions"):
        counted.get(START[1:])
    with pytest.raises(ValueError, match=r"\[rollout\] expected"):
        counted.get((3, 6, SIDE, SIDE))


def test_weights_that_become_no_numbers_are_refused_in_the_next_run() -> None:
    counted, engine = Counted(), FusedRolloutEngine(seed=0)
    buffer = ModelBuffer(6, context=4, horizon=1, frame_shape=(SIDE, SIDE))
    given: dict[str, Any] = {"horizon": 1, "epsilon": 0.5}
    for _ in range(2):
        engine.run(contexts(3, 5), counted.policy, counted.model, buffer, **given)
    with torch.no_grad():
        next(counted.policy.network.parameters()).fill_(np.nan)
    for _ in range(2):
        with pytest.raises(ValueError, match="expected finite weights, got nan"):
            engine.run(contexts(3, 5), counted.policy, counted.model, buffer, **given)
