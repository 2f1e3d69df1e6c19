"""Environments in two halves: what concerns all lanes equals one environment's."""

import numpy as np
import pytest

from mbpo_fast.envs import make_halves, make_vec
from mbpo_fast.envs.halves import half_shares
from mbpo_fast.errors import UsageError


def same(ours: dict, theirs: dict) -> bool:
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("lanes", [4, 5, 11])
def test_reset_and_states_are_those_of_one_environment(lanes: int, workers: int) -> None:
    whole, halves = make_vec("Catch", lanes, seed=5), make_halves("Catch", lanes, seed=5, workers=workers)
    cut = halves.parts[0].num_envs
    for seed in (7, None):
        (obs, infos), (ours, our_infos) = whole.reset(seed=seed), halves.reset(seed=seed)
        assert np.array_equal(ours, obs)
        assert same(our_infos, infos)
    rng = np.random.default_rng(0)
    for actions in rng.integers(0, 3, (30, lanes)):
        whole.step(actions)
        halves.parts[0].step(actions[:cut])
        halves.parts[1].step(actions[cut:])
    assert same(halves.get_state(), whole.get_state())
    again = make_halves("Catch", lanes, seed=9)
    again.set_state(whole.get_state())
    assert same(again.get_state(), whole.get_state())
    for env in (whole, halves, again):
        env.close()


def test_states_of_other_lanes_are_refused() -> None:
    halves, more = make_halves("Catch", 4), make_vec("Catch", 6)
    more.reset(seed=0)
    with pytest.raises(
        ValueError, match=r"\[set_state\] expected the arrays of these lanes, got other names"
    ):
        halves.set_state(more.get_state())


def test_shares() -> None:
    assert half_shares(8, 2) == [(0, 4, 1), (4, 4, 1)]
    assert half_shares(5, 3) == [(0, 3, 2), (3, 2, 1)]
    with pytest.raises(UsageError, match="make_halves: expected num_envs >= 2, got 1"):
        make_halves("Catch", 1)
