import numpy as np
import pytest

from mbpo_fast.data import ModelBuffer

SHAPE = (2, 3)
CONTEXT = 2


def images(*numbers: int) -> np.ndarray:
    """Frames that tell their numbers, one after another."""
    return np.stack([np.full(SHAPE, number, np.uint8) for number in numbers])


def buffer_of(*lengths: int, capacity: int = 8, horizon: int = 3, ended: tuple[int, ...] = ()) -> ModelBuffer:
    """One branch per length; branch b begins with frames 10 b, 10 b + 1; its step t adds 10 b + 2 + t."""
    buffer = ModelBuffer(capacity, context=CONTEXT, horizon=horizon, frame_shape=SHAPE, seed=3)
    for number, length in enumerate(lengths):
        ids = buffer.begin(images(10 * number, 10 * number + 1)[None])
        for t in range(length):
            add_step(buffer, ids, 10 * number + 2 + t, t, ended=number in ended and t == length - 1)
    return buffer


def add_step(buffer: ModelBuffer, ids: np.ndarray, frame: int, t: int, *, ended: bool = False) -> None:
    buffer.append(
        ids,
        images(*[frame] * len(ids)),
        np.full(len(ids), t),
        np.full(len(ids), t + 1, np.float32),
        np.full(len(ids), ended),
        np.full(len(ids), t, np.int16),
    )


def values(stacks: np.ndarray) -> list[list[int]]:
    return stacks[..., 0, 0].tolist()


def test_a_branch_is_walked_in_order():
    buffer = buffer_of(3)
    batch = buffer.gather(np.arange(3), gamma=0.5, context=2)
    assert values(batch.obs) == [[0, 1], [1, 2], [2, 3]]
    assert values(batch.next_obs) == [[1, 2], [2, 3], [3, 4]]
    assert batch.action.tolist() == [0, 1, 2]
    assert batch.reward.tolist() == [1, 2, 3]
    assert batch.discount.tolist() == [0.5] * 3
    assert values(buffer.latest(np.array([0]))) == [[3, 4]]
    assert values(buffer.latest(np.array([0]), 1)) == [[4]]


def test_n_step_stays_inside_the_branch_and_bootstraps_at_its_last_frame():
    batch = buffer_of(3).gather(np.array([0, 1]), 5, gamma=0.5, context=2)
    assert batch.reward.tolist() == [1 + 2 / 2 + 3 / 4, 2 + 3 / 2]
    assert batch.discount.tolist() == [0.125, 0.25]
    assert values(batch.next_obs) == [[3, 4], [3, 4]]


def test_an_imagined_end_has_no_bootstrap():
    batch = buffer_of(2, ended=(0,)).gather(np.array([0, 1]), 2, gamma=0.5, context=2)
    assert batch.terminated.tolist() == [True, True]
    assert batch.discount.tolist() == [0, 0]


def test_old_branches_make_room():
    buffer = buffer_of(3, 1, 2, capacity=2)
    assert (buffer.oldest, buffer.total, len(buffer)) == (1, 3, 3)
    assert set(buffer.sample_ids(100)) == {3, 6, 7}
    with pytest.raises(ValueError, match="expected ids of stored transitions, got 0"):
        buffer.gather(np.array([0]), context=2)


def test_sampling_is_uniform_over_transitions_not_branches():
    buffer = buffer_of(3, 0, 1, 3)
    counts = np.bincount(buffer.sample_ids(14_000), minlength=12)
    assert set(counts.nonzero()[0]) == {0, 1, 2, 6, 9, 10, 11}
    # Chi-square with 6 degrees of freedom: 22.5 is exceeded once in a thousand seeds; the seed is fixed.
    assert ((counts[counts > 0] - 2000) ** 2 / 2000).sum() < 22.5


@pytest.mark.parametrize(("capacity", "horizon"), [(8, 5), (8, 1), (2, 3), (2, 2), (20, 3)])
def test_resize_keeps_what_fits(capacity, horizon):
    buffer = buffer_of(3, 0, 1, 3, ended=(0, 2, 3))
    before = {branch: buffer.export(branch, branch + 1) for branch in range(4)}
    buffer.resize(capacity, horizon)
    kept = range(max(0, 4 - capacity), 4)
    assert (buffer.oldest, buffer.total) == (kept[0], 4)
    assert (buffer.capacity, buffer.horizon) == (capacity, horizon)
    for branch in kept:
        now, length = buffer.export(branch, branch + 1), min(horizon, before[branch]["length"][0])
        assert now["length"] == length
        for name in ("frame", "action", "reward", "terminated", "member"):
            extra = CONTEXT if name == "frame" else 0
            old = before[branch][name][:, : extra + length]
            assert np.array_equal(now[name][:, : extra + length], old)
            assert not now[name][:, extra + length :].any()
    assert len(buffer) == sum(min(horizon, before[branch]["length"][0]) for branch in kept)


def test_ids_go_on_after_a_resize_of_an_empty_buffer():
    buffer = buffer_of(3, 1)
    buffer.clear()
    buffer.resize(8, 3)
    assert (buffer.oldest, buffer.total, len(buffer)) == (2, 2, 0)
    assert buffer.begin(np.zeros((1, CONTEXT, *SHAPE), np.uint8)).tolist() == [2]


def test_a_cut_branch_goes_on_after_a_resize():
    buffer = buffer_of(1, horizon=1)
    buffer.resize(8, 3)
    add_step(buffer, np.array([0]), 3, 1)
    assert values(buffer.gather(np.array([1]), context=2).next_obs) == [[2, 3]]


def test_save_and_load_go_on_exactly(tmp_path):
    original = buffer_of(3, 1, 2, capacity=2)
    original.sample(3, context=2)
    original.save(tmp_path / "buffer")
    loaded = ModelBuffer(5, context=CONTEXT, horizon=1, frame_shape=SHAPE, seed=3)
    loaded.load(tmp_path / "buffer")
    assert loaded.state() == original.state()
    for _ in range(3):
        one, two = (buffer.sample(4, 2, context=2).arrays() for buffer in (original, loaded))
        assert all(np.array_equal(one[name], two[name]) for name in one)
        for buffer in (original, loaded):
            add_step(buffer, buffer.begin(images(7, 8)[None]), 9, 0)


def test_restore_refuses_another_context_and_changes_nothing():
    buffer, other = buffer_of(2), ModelBuffer(8, context=3, horizon=3, frame_shape=SHAPE, seed=3)
    with pytest.raises(ValueError, match=r"\[ModelBuffer.restore\] expected context 3, got 2"):
        other.restore(buffer.state(), [(0, buffer.export(0, 1))])
    with pytest.raises(ValueError, match="expected total"):
        buffer.restore(buffer.state() | {"total": 9}, [(0, buffer.export(0, 1))])
    assert len(buffer) == 2


ONE = np.array([0])
STEP = {
    "ids": ONE,
    "frame": images(5),
    "action": np.zeros(1, np.int64),
    "reward": np.zeros(1, np.float32),
    "terminated": np.zeros(1, bool),
    "member": np.zeros(1, np.int16),
}
BAD_STEPS = [
    ({"ids": ONE + 1}, "fewer than 3 steps, got branch 1 with 3"),
    ({"ids": ONE + 2}, "expected branches that have not terminated, got branch 2"),
    ({"ids": ONE + 3}, "expected ids of stored branches, got 3"),
    ({"ids": ONE - 1}, "expected ids of stored branches, got -1"),
    ({"ids": np.array([0, 0])} | {k: np.repeat(v, 2, 0) for k, v in STEP.items() if k != "ids"}, "0 twice"),
    ({"reward": np.array([np.nan], np.float32)}, "expected finite rewards, got nan"),
    ({"reward": np.zeros(1)}, r"expected reward .*float32 \[1\], got float64 \[1\]"),
    ({"frame": images(5, 6)}, r"expected frame .*\[1,2,3\], got uint8 \[2,2,3\]"),
    ({"member": np.zeros(1, np.int64)}, "expected member .*got int64"),
]


@pytest.mark.parametrize(("change", "message"), BAD_STEPS)
def test_bad_steps_are_refused_and_change_nothing(change, message):
    buffer = buffer_of(1, 3, 1, ended=(2,))
    before = buffer.export(0, 3)
    with pytest.raises(ValueError, match=r"\[BranchRing.append\] .*" + message):
        buffer.append(**(STEP | change))
    after = buffer.export(0, 3)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    add_step(buffer, ONE, 9, 1)


def test_an_overwritten_branch_takes_no_step():
    buffer = buffer_of(1, 1, capacity=1)
    with pytest.raises(ValueError, match="expected ids of stored branches, got 0"):
        add_step(buffer, ONE, 1, 1)


BAD_CALLS = [
    (lambda b: b.begin(np.zeros((9, CONTEXT, *SHAPE), np.uint8)), "expected 1 to 8 branches, got 9"),
    (lambda b: b.begin(np.zeros((0, CONTEXT, *SHAPE), np.uint8)), "expected 1 to 8 branches, got 0"),
    (lambda b: b.begin(np.zeros((1, 3, *SHAPE), np.uint8)), r"expected start .*\[any,2,2,3\]"),
    (lambda b: b.sample(0, context=2), "expected 1 <= batch"),
    (lambda b: b.sample(2, 0, context=2), "expected 1 <= n_step"),
    (lambda b: b.sample(2, context=3), "expected 1 <= context <= 2, got 3"),
    (lambda b: b.gather(ONE, gamma=np.nan, context=2), "expected 0 <= gamma <= 1, got nan"),
    (lambda b: b.gather(ONE + 2, context=2), "expected ids of stored transitions, got 2"),
    (lambda b: b.gather(ONE - 1, context=2), "expected ids of stored transitions, got -1"),
    (lambda b: b.latest(ONE, 3), "expected 1 <= context <= 2, got 3"),
    (lambda b: b.latest(ONE, -1), "expected 1 <= context"),
    (lambda b: b.latest(ONE + 4), "expected ids of stored branches, got 4"),
    (lambda b: b.export(0, 2), r"expected stored branches within \[0, 1\), got \[0, 2\)"),
    (lambda b: b.resize(0, 3), "expected capacity >= 1, got 0"),
    (lambda b: b.resize(3, 0), "expected 1 <= horizon"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS)
def test_bad_calls(call, message):
    buffer = buffer_of(2)
    with pytest.raises(ValueError, match=message):
        call(buffer)
    assert len(buffer) == 2


BAD_SEGMENTS = [
    ({"length": np.array([4], np.int32)}, "expected 0 <= length <= 3, got 4"),
    ({"length": np.array([-1], np.int32)}, "expected 0 <= length <= 3, got -1"),
    ({"terminated": np.array([[True, False, False]])}, "expected an end on a branch's last step alone"),
    ({"reward": np.full((1, 3), np.nan, np.float32)}, "expected finite rewards"),
    ({"action": np.zeros((1, 2), np.int64)}, r"expected action .*\[1,3\]"),
]


@pytest.mark.parametrize(("change", "message"), BAD_SEGMENTS)
def test_bad_segments(change, message):
    buffer = buffer_of(2)
    segment = buffer.export(0, 1)
    with pytest.raises(ValueError, match=message):
        buffer.restore(buffer.state(), [(0, segment | change)])
    del segment["member"]
    with pytest.raises(ValueError, match="expected a segment with 'member', got none"):
        buffer.restore(buffer.state(), [(0, segment)])
    assert len(buffer) == 2


def test_sampling_an_empty_buffer():
    with pytest.raises(ValueError, match="expected at least one valid transition, got none"):
        buffer_of(0, 0).sample(1)
