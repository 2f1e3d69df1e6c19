"""Steps that run while the caller does something else: two halves are the whole, byte for byte."""

import numpy as np
import pytest

from mbpo_fast.envs import make_vec

ENV_ID = "SpaceInvadersNoFrameskip-v4"


def start(num_envs, **kwargs):
    env = make_vec(ENV_ID, num_envs, seed=5, **kwargs)
    env.reset(seed=5)
    return env


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_two_overlapped_halves_are_one_whole(workers):
    whole = start(4)
    halves = [start(2, first_lane=0, workers=workers), start(2, first_lane=2, workers=workers)]
    actions = np.random.default_rng(0).integers(0, 6, (60, 4))
    for half, first in zip(halves, (0, 2), strict=True):
        half.step_async(actions[0, first : first + 2])
    for now, later in zip(actions, [*actions[1:], None], strict=True):
        expected = whole.step(now)
        for half, first in zip(halves, (0, 2), strict=True):
            got = half.step_wait()
            if later is not None:
                half.step_async(later[first : first + 2])
            for ours, theirs in zip(got[:4], expected[:4], strict=True):
                assert np.array_equal(ours, theirs[first : first + 2])
            for name, column in expected[4].items():
                assert np.array_equal(got[4][name], column[first : first + 2]), name
    for env in (whole, *halves):
        env.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_step_under_way_is_waited_for(workers):
    env = make_vec("Catch", 2, workers=workers)
    with pytest.raises(RuntimeError, match=r"\[step_wait\] expected a step begun"):
        env.step_wait()
    env.reset()
    env.step_async([0, 1])
    for verb, call in {
        "reset": env.reset,
        "get_state": env.get_state,
        "set_state": lambda: env.set_state({}),
        "step_async": lambda: env.step([0, 1]),
    }.items():
        with pytest.raises(RuntimeError, match=rf"\[{verb}\] expected step_wait\(\) first"):
            call()
    env.step_wait()
    env.step([0, 1])
    env.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_lane_that_rests_goes_on_later_as_if_it_had_not_waited(workers):
    resting, plain = start(2, workers=workers), start(1)
    actions = np.random.default_rng(1).integers(0, 6, 40)
    for step, action in enumerate(actions):
        expected = plain.step([action])
        got = resting.step([action, 0])
        if step % 3 == 0:
            resting.step_async([0, 0], rests=np.array([True, False]))
            again = resting.step_wait()
            assert np.array_equal(again[0][0], got[0][0])
        for ours, theirs in zip(got[:4], expected[:4], strict=True):
            assert np.array_equal(ours[0], theirs[0])
    resting.close()
    plain.close()
