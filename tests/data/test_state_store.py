import numpy as np
import pytest

from mbpo_fast.data.state_store import StateStore
from mbpo_fast.envs import make_vec


def test_states_live_as_long_as_their_frames():
    store = StateStore(every=3)
    kept = [slot for slot in range(20) if store.due(slot)]
    for slot in kept:
        store.put(slot, {"x": np.array([slot])}, oldest=max(0, slot - 7))
    assert store.slots().tolist() == [12, 15, 18]
    assert len(store) == 3
    assert store.get(15)["x"] == 15
    with pytest.raises(KeyError):
        store.get(9)


def test_a_kept_state_plays_the_same_game_again():
    env = make_vec("Catch", 2, seed=3)
    env.reset(seed=3)
    store = StateStore(every=4)
    actions = np.random.default_rng(0).integers(0, 3, (12, 2))
    seen = []
    for slot, action in enumerate(actions):
        if store.due(slot):
            store.put(slot, env.get_state(), oldest=0)
        seen.append(env.step(action)[0].copy())
    env.set_state(store.get(4))
    for slot in range(4, 12):
        assert np.array_equal(env.step(actions[slot])[0], seen[slot])
    env.close()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: StateStore(0), "expected every >= 1, got 0"),
        (lambda: StateStore(4).put(5, {}, 0), "expected a multiple of 4, got slot 5"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_saved_store_comes_back_with_arrays_of_any_length():
    store, again = StateStore(every=2), StateStore(every=2)
    rng = np.random.default_rng(0)
    for slot in (4, 6, 10):
        state = {"a": rng.integers(0, 256, 3 + slot, dtype=np.uint8), "b": rng.random(2)}
        store.put(slot, state, oldest=0)
    again.load_state_dict(store.state_dict())
    assert again.slots().tolist() == [4, 6, 10]
    for slot in (4, 6, 10):
        for name, array in store.get(slot).items():
            assert np.array_equal(again.get(slot)[name], array)
            assert again.get(slot)[name].dtype == array.dtype
