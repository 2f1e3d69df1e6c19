import threading

import numpy as np
import pytest

from mbpo_fast.data import Batch, ReplayBuffer
from mbpo_fast.ops import Stream, random_uniform

SHAPE = (2, 3)


def one(buffer: ReplayBuffer, slot: int, n_step: int = 1, **spec: object) -> Batch:
    return buffer.gather(np.array([slot]), n_step, **spec)


def test_truncated_step_bootstraps_from_the_true_final_frame(filled, values):
    # Slot 3 is the final frame, slot 4 the reset frame: next_obs must end with 3.
    batch = one(filled("fsscfs"), 2, gamma=0.5)
    assert values(batch.obs) == [[0, 0, 1, 2]]
    assert values(batch.next_obs) == [[0, 1, 2, 3]]
    assert batch.discount[0] == 0.5
    assert not batch.terminated[0]


def test_terminated_step_has_no_bootstrap(filled, values):
    batch = one(filled("fsstfs"), 2, gamma=0.5)
    assert values(batch.next_obs) == [[0, 1, 2, 3]]
    assert batch.discount[0] == 0.0
    assert batch.terminated[0]
    assert batch.action[0] == 3
    assert batch.reward[0] == 3.0


def test_no_transition_goes_from_a_final_frame_into_the_next_episode(filled):
    assert filled("fsstfscfs").valid_ids(1).tolist() == [0, 1, 2, 4, 5, 7]


def test_n_step_return_stops_at_the_end_of_the_episode(filled, values):
    buffer = filled("fssstfssss")
    inside = one(buffer, 0, 3, gamma=0.5)
    assert inside.reward[0] == 1 + 2 * 0.5 + 3 * 0.25
    assert inside.discount[0] == 0.125
    assert values(inside.next_obs) == [[0, 1, 2, 3]]
    end = one(buffer, 2, 3, gamma=0.5)
    assert end.reward[0] == 3 + 4 * 0.5
    assert end.discount[0] == 0.0
    assert values(end.next_obs) == [[1, 2, 3, 4]]


def test_n_step_return_over_a_truncation_bootstraps_there(filled, values):
    batch = one(filled("fscfsss"), 0, 3, gamma=0.5)
    assert batch.reward[0] == 1 + 2 * 0.5
    assert batch.discount[0] == 0.25
    assert values(batch.next_obs) == [[0, 0, 1, 2]]


def test_a_new_episode_without_an_end_counts_as_a_truncation(filled, values):
    buffer = filled("fssfss")
    batch = one(buffer, 0, 3, gamma=0.5)
    assert batch.reward[0] == 1 + 2 * 0.5
    assert batch.discount[0] == 0.25
    assert values(batch.next_obs) == [[0, 0, 1, 2]]
    assert 2 not in buffer.valid_ids(1)


@pytest.mark.parametrize(("padding", "filler"), [("reset", 4), ("zero", 0)])
def test_padding_before_the_first_frame(filled, values, padding, filler):
    buffer = filled("fsstfss", padding_type=padding)
    assert values(buffer.stacks(np.array([4, 5]), 3)) == [[filler, filler, 4], [filler, 4, 5]]
    assert values(one(buffer, 4, context=3).next_obs) == [[filler, 4, 5]]


def test_wrap_around_drops_what_lost_its_context(filled, values):
    # Five slots hold 2 to 6; a stack of three that ends at 2 or 3 would need slots 0 and 1.
    buffer = filled("fssssss", capacity=4)
    assert (buffer.slots, buffer.oldest, buffer.total) == (5, 2, 7)
    assert buffer.valid_ids(1, context=3).tolist() == [4, 5]
    assert values(one(buffer, 5, context=3).obs) == [[3, 4, 5]]
    assert values(one(buffer, 4, 2, context=3).next_obs) == [[4, 5, 6]]
    assert len(buffer) == 4


def test_wrap_around_keeps_a_padded_stack_whose_episode_is_whole(filled, values):
    buffer = filled("fsscfss", capacity=3)
    assert buffer.oldest == 3
    assert buffer.valid_ids(1, context=4).tolist() == [4, 5]
    assert values(one(buffer, 5).obs) == [[4, 4, 4, 5]]


def test_ids_last_for_life_and_then_are_refused(filled, add_row):
    buffer = filled("fsssss", capacity=5)
    before = one(buffer, 4)
    add_row(buffer, "s")
    assert np.array_equal(one(buffer, 4).obs, before.obs)
    with pytest.raises(ValueError, match=r"\[FrameRing.gather\] expected ids of stored transitions .*got 0"):
        one(buffer, 0)


def test_lanes_do_not_mix(add_row, values):
    buffer = ReplayBuffer(40, 2, frame_shape=SHAPE)
    for kinds in ("ff", "st", "sf", "cs", "fs"):
        add_row(buffer, kinds)
    assert buffer.valid_ids(1).tolist() == [0, 1, 2, 4, 5, 7]
    batch = buffer.gather(np.array([4, 5]), context=3)
    assert values(batch.obs) == [[0, 1, 2], [102, 102, 102]]
    assert values(batch.next_obs) == [[1, 2, 3], [102, 102, 103]]


def test_outcomes_and_stacks_agree_with_gather(filled):
    buffer = filled("fssctffsstfs".replace("ct", "t"))
    ids = buffer.valid_ids(1)
    batch = buffer.gather(ids)
    reward, terminated = buffer.outcomes(ids)
    assert np.array_equal(reward, batch.reward)
    assert np.array_equal(terminated, batch.terminated)
    assert np.array_equal(buffer.stacks(ids), batch.obs)


def test_sampling_is_uniform_over_the_valid_transitions(add_row):
    buffer = ReplayBuffer(60, 2, frame_shape=SHAPE, seed=5)
    for slot in range(50):
        add_row(buffer, ("f" if slot % 7 == 0 else "s") + ("f" if slot % 11 == 0 else "s"))
    valid = buffer.valid_ids(2, context=3)
    rounds, batch = 100, 400
    drawn = np.concatenate([buffer.sample_ids(batch, 2, context=3) for _ in range(rounds)])
    assert set(drawn) == set(valid)
    expected = rounds * batch / len(valid)
    counts = np.unique(drawn, return_counts=True)[1]
    # Three standard deviations above the mean of the chi-square distribution; the seed is fixed.
    freedom = len(valid) - 1
    assert ((counts - expected) ** 2 / expected).sum() < freedom + 3 * (2 * freedom) ** 0.5


def test_draws_advance_and_belong_to_the_seed(filled):
    first, second, other = (filled("f" + "s" * 60, seed=seed) for seed in (1, 1, 2))
    one_, two = first.sample_ids(20), first.sample_ids(20)
    assert not np.array_equal(one_, two)
    assert np.array_equal(second.sample_ids(20), one_)
    assert not np.array_equal(other.sample_ids(20), one_)
    assert first.draws == 2


def test_holdout_takes_whole_episodes_for_life(add_row):
    buffer = ReplayBuffer(4000, 4, frame_shape=SHAPE, seed=3, holdout_ratio=0.3)
    period = np.array([4, 5, 8, 10])
    for slot in range(800):
        add_row(buffer, "".join(np.where(slot % period == 0, "f", "s")))
        if slot == 400:
            early = buffer.valid_ids(1, split="holdout")
    held, train = buffer.valid_ids(1, split="holdout"), buffer.valid_ids(1, split="train")
    assert set(held) | set(train) == set(buffer.valid_ids(1))
    assert not set(held) & set(train)
    assert set(early) <= set(held)
    episodes = {(lane, slot // period[lane]) for slot, lane in zip(held // 4, held % 4, strict=True)}
    assert len(held) == sum(period[lane] - 1 for lane, _ in episodes)
    # 540 episodes: a standard deviation of 10.6.
    assert abs(len(episodes) - 162) < 40
    lane, episode = min(episodes)
    assert random_uniform(3, Stream.HOLDOUT, episode * period[lane], 4)[lane] < 0.3
    assert set(buffer.sample_ids(200, split="holdout")) <= set(held)
    assert set(buffer.sample_ids(200, split="train")) <= set(train)


def test_out_is_filled_in_place(filled):
    buffer = filled("f" + "s" * 20)
    out = Batch.empty(6, 3, SHAPE)
    ids = np.array([3, 9])
    part = buffer.gather(ids, 2, context=3, out=out[2:4])
    whole = buffer.gather(ids, 2, context=3)
    assert part.obs.base is not None
    for name, array in whole.arrays().items():
        assert np.array_equal(out.arrays()[name][2:4], array)


def test_reading_while_another_thread_adds(add_row):
    buffer = ReplayBuffer(64, 1, frame_shape=SHAPE)
    for kind in "f" + "s" * 40:
        add_row(buffer, kind)
    stop = threading.Event()
    checked = []

    def read() -> None:
        while not stop.is_set():
            ids = buffer.sample_ids(8, 3)
            try:
                batch = buffer.gather(ids, 3)
            except ValueError:
                continue  # overwritten since it was drawn
            checked.append(1)
            for stack in (batch.obs, batch.next_obs):
                assert (stack == stack[..., :1, :1]).all(), "a frame of one value, whole"
            obs, next_obs = (stack[..., 0, 0].astype(int) for stack in (batch.obs, batch.next_obs))
            assert (np.diff(obs, axis=1) % 256 <= 1).all()
            assert ((next_obs[:, -1] - obs[:, -1]) % 256 == 3).all()

    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            read()
        except BaseException as error:
            errors.append(error)

    readers = [threading.Thread(target=guarded) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(3000):
        add_row(buffer, "s")
    stop.set()
    for reader in readers:
        reader.join()
    assert not errors
    assert checked


@pytest.mark.parametrize("padding_type", ["reset", "zero"])
@pytest.mark.parametrize("context", [1, 3, 6])
def test_windows_hold_the_same_stacks(padding_type, context):
    buffer = ReplayBuffer(60, 2, frame_shape=(4, 4), padding_type=padding_type)
    rng = np.random.default_rng(0)
    for step in range(50):
        frame, first = rng.integers(0, 256, (2, 4, 4), np.uint8), np.full(2, step % 7 == 0)
        truncated = np.full(2, step % 7 == 6)
        buffer.add(frame, np.zeros(2, int), rng.random(2), np.zeros(2, bool), truncated, first)
    ids = buffer.valid_ids(context=context)
    apart = buffer.gather(ids, context=context, out=Batch.empty(len(ids), context, (4, 4)))
    joined = buffer.gather(ids, context=context)
    assert apart.window is None
    assert joined.window is not None
    for name, column in apart.arrays().items():
        assert np.array_equal(getattr(joined, name), column), name
    half = joined[3:9]
    assert np.shares_memory(half.obs, joined.window)
    assert np.array_equal(half.window, joined.window[3:9])
    with pytest.raises(ValueError, match="expected out without windows for n_step 2"):
        buffer.gather(ids[:4], 2, context=context, out=joined[:4])
