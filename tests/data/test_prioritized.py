import numpy as np
import pytest

from mbpo_fast.data import PrioritizedReplayBuffer, ReplayBuffer

SHAPE = (4, 4)


def add_rows(buffer: ReplayBuffer, count: int, episode: int = 7, start: int = 0) -> None:
    """Lanes whose episodes all last `episode` steps; a frame's pixels say its slot."""
    for step in range(start, start + count):
        frame = np.full((buffer.num_envs, *SHAPE), step % 256, np.uint8)
        place = step % (episode + 1)
        first = np.full(buffer.num_envs, place == 0)
        ended = np.full(buffer.num_envs, place == episode)
        zero = np.zeros(buffer.num_envs, np.int64)
        buffer.add(frame, zero, np.ones(buffer.num_envs, np.float32), ended, ~ended & False, first)


def full(
    capacity: int = 90, num_envs: int = 3, rows: int = 50, **settings: object
) -> PrioritizedReplayBuffer:
    buffer = PrioritizedReplayBuffer(capacity, num_envs, frame_shape=SHAPE, **settings)
    add_rows(buffer, rows)
    return buffer


def test_rows_are_drawn_in_proportion_to_their_priorities():
    buffer = full(alpha=0.5)
    ids = buffer.valid_ids(context=2)
    priority = np.random.default_rng(0).uniform(0.1, 9.0, len(ids))
    buffer.update_priorities(ids, priority)
    draws = 40_000
    drawn = np.concatenate([buffer.sample(1000, context=2).ids for _ in range(draws // 1000)])
    expected = priority**0.5 / (priority**0.5).sum() * draws
    counts = np.array([(drawn == i).sum() for i in ids])
    assert counts.sum() == draws, "only valid transitions are drawn"
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < len(ids) + 5 * np.sqrt(2 * len(ids))


def test_rows_and_weights_are_those_of_the_paper():
    buffer = full(alpha=1.0)
    ids = buffer.valid_ids(context=1)
    buffer.update_priorities(ids, np.where(ids == ids[5], 8.0, 2.0))
    batch = buffer.sample(400, beta=0.5, context=1)
    plain = buffer.gather(batch.ids, context=1)
    assert np.array_equal(batch.obs, plain.obs)
    share = np.where(batch.ids == ids[5], 8.0, 2.0) / (2.0 * (len(ids) - 1) + 8.0)
    weight = (len(buffer) * share) ** -0.5
    assert len(set(batch.ids.tolist())) > 5
    np.testing.assert_allclose(batch.weight, weight / weight.max(), rtol=1e-6)
    assert set(plain.weight.tolist()) == {1.0}


def test_a_new_transition_has_the_largest_priority_so_far():
    buffer = full(rows=20)
    before = buffer.valid_ids(context=1)
    buffer.update_priorities(before[:1], [50.0])
    add_rows(buffer, 3, start=20)
    new = np.setdiff1d(buffer.valid_ids(context=1), before)
    assert len(new) == 3 * buffer.num_envs
    np.testing.assert_allclose(buffer.priorities(new), 50.0**buffer.alpha, rtol=1e-6)
    np.testing.assert_allclose(buffer.priorities(before[1:]), 1.0)


def test_overwritten_transitions_are_neither_drawn_nor_updated():
    buffer = full(rows=20)
    old = buffer.valid_ids(context=1)
    add_rows(buffer, 200, start=20)
    before = buffer.extra()
    buffer.update_priorities(old, np.full(len(old), 1e6))
    after = buffer.extra()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert np.isin(buffer.sample(2000, context=1).ids, buffer.valid_ids(context=1)).all()


def test_the_mass_lies_on_stored_transitions_alone():
    for rows in range(1, 80):
        buffer = full(rows=rows)
        valid = buffer.valid_ids(context=1)
        assert (buffer.extra()["priorities"] > 0).sum() == len(valid), rows


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("split", ["train", "holdout"])
def test_only_what_the_call_can_use_is_drawn(n_step, split):
    buffer = full(holdout_ratio=0.4)
    # All the mass on transitions that this call cannot use, but for a last one of little.
    valid = buffer.valid_ids(n_step, context=4, split=split)
    everything = buffer.valid_ids(1, context=1)
    buffer.update_priorities(everything, np.where(np.isin(everything, valid), 1e-7, 1e3))
    drawn = buffer.sample(200, n_step, context=4, split=split).ids
    assert np.isin(drawn, valid).all()
    assert len(np.unique(drawn)) > 1


def test_no_mass_is_one_clear_error():
    buffer = PrioritizedReplayBuffer(50, 2, frame_shape=SHAPE)
    with pytest.raises(ValueError, match="at least one valid transition"):
        buffer.sample(4)


def test_save_and_load_go_on_with_the_same_draws(tmp_path):
    buffer = full()
    ids = buffer.valid_ids(context=1)
    buffer.update_priorities(ids, np.random.default_rng(1).uniform(0.1, 5.0, len(ids)))
    buffer.save(tmp_path / "buffer")
    other = PrioritizedReplayBuffer(90, 3, frame_shape=SHAPE)
    other.load(tmp_path / "buffer")
    add_rows(buffer, 4, start=50)
    add_rows(other, 4, start=50)
    for _ in range(3):
        ours, theirs = buffer.sample(64), other.sample(64)
        assert np.array_equal(ours.ids, theirs.ids)
        assert np.array_equal(ours.weight, theirs.weight)


def test_a_missing_priority_file_is_named(tmp_path):
    plain = ReplayBuffer(90, 3, frame_shape=SHAPE)
    add_rows(plain, 20)
    plain.save(tmp_path / "buffer")
    with pytest.raises(ValueError, match=r"expected a readable .*extra.safetensors"):
        PrioritizedReplayBuffer(90, 3, frame_shape=SHAPE).load(tmp_path / "buffer")


@pytest.mark.parametrize("priority", [[0.0], [-1.0], [np.nan], [np.inf], [1.0, 1.0]])
def test_bad_priorities_change_nothing(priority):
    buffer = full()
    before = buffer.extra()
    with pytest.raises(ValueError, match="expected a positive finite priority for each id"):
        buffer.update_priorities(buffer.valid_ids()[:1], priority)
    assert np.array_equal(before["priorities"], buffer.extra()["priorities"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PrioritizedReplayBuffer(9, 1, alpha=-0.1), "expected 0 <= alpha <= 4, got -0.1"),
        (lambda: full().sample(4, beta=1.5), "expected 0 <= beta <= 1, got 1.5"),
        (lambda: full().update_priorities(np.array([10**6]), [1.0]), r"FrameRing.places\] expected ids in"),
    ],
)
def test_bad_settings(call, message):
    with pytest.raises(ValueError, match=message):
        call()
