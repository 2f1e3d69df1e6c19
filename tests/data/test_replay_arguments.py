import numpy as np
import pytest

from mbpo_fast.data import Batch, ReplayBuffer

SHAPE = (2, 3)


ROW = {
    "frame": np.zeros((2, *SHAPE), np.uint8),
    "action": np.zeros(2, np.int64),
    "reward": np.zeros(2, np.float32),
    "terminated": np.zeros(2, bool),
    "truncated": np.zeros(2, bool),
    "first": np.zeros(2, bool),
}
BAD_ROWS = [
    ({"frame": np.zeros((2, 3, 3), np.uint8)}, r"expected frame as .*\[2,2,3\], got uint8 \[2,3,3\]"),
    ({"frame": np.zeros((2, *SHAPE), np.float32)}, "expected frame as uint8, got float32"),
    ({"action": np.zeros(2)}, "expected action as int64, got float64"),
    ({"action": np.zeros(3, int)}, r"expected action .*\[2\], got int64 \[3\]"),
    ({"reward": np.array([0, np.nan])}, r"expected finite rewards, got nan \(slot 2, lane 1\)"),
    ({"reward": np.array([np.inf, 0])}, "expected finite rewards, got inf"),
    ({"terminated": np.zeros(2, np.uint8)}, "expected terminated as bool, got uint8"),
    ({"first": np.zeros(1, bool)}, r"expected first .*\[2\]"),
    ({"first": np.ones(2, bool), "terminated": np.ones(2, bool)}, "expected no end on a row with first"),
]


@pytest.mark.parametrize(("change", "message"), BAD_ROWS)
def test_bad_rows_are_refused_and_change_nothing(add_row, change, message):
    buffer = ReplayBuffer(10, 2, frame_shape=SHAPE, holdout_ratio=0.5)
    add_row(buffer, "ff")
    add_row(buffer, "ss")
    before, split = buffer.export(0, 2), buffer._split.copy()
    with pytest.raises(ValueError, match=message):
        buffer.add(**(ROW | change))
    assert buffer.total == 2
    assert np.array_equal(buffer._split, split)
    after = buffer.export(0, 2)
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("end", ["t", "c"])
def test_an_ended_episode_cannot_go_on(filled, add_row, end):
    buffer = filled("fs" + end)
    with pytest.raises(ValueError, match=r"first after an episode's end, got none \(slot 3, lane 0\)"):
        add_row(buffer, "s")
    assert buffer.total == 3


def test_a_lane_begins_with_a_first_frame(filled):
    with pytest.raises(ValueError, match="expected first on a lane's first row"):
        filled("s")


IDS = np.array([0, 1])
BAD_READS = [
    (lambda b: b.sample(0), "expected 1 <= batch"),
    (lambda b: b.sample(-1), "expected 1 <= batch"),
    (lambda b: b.sample(2, 0), "expected 1 <= n_step"),
    (lambda b: b.sample(2, 2**62), "expected 1 <= n_step"),
    (lambda b: b.sample(2, context=0), "expected 1 <= context"),
    (lambda b: b.sample(2, 9), "expected at least one valid transition, got none"),
    (lambda b: b.sample(2, split="test"), "expected split 'all', 'train' or 'holdout', got 'test'"),
    (lambda b: b.sample(2, split="holdout"), "expected at least one valid transition, got none"),
    (lambda b: b.sample(2, gamma=-0.1), "expected 0 <= gamma <= 1, got -0.1"),
    (lambda b: b.sample(1.5), "expected batch as an integer, got 1.5"),
    (lambda b: b.gather(IDS, gamma=np.nan), "expected 0 <= gamma <= 1, got nan"),
    (lambda b: b.gather(IDS, gamma=1.01), "expected 0 <= gamma <= 1"),
    (lambda b: b.gather(IDS - 1), "expected ids of stored transitions .*got -1"),
    (lambda b: b.gather(IDS + 8), "expected ids of stored transitions .*got 8"),
    (lambda b: b.gather(IDS + 5, 3), "expected ids of stored transitions .n_step 3, context 4.*got 6"),
    (lambda b: b.gather(IDS + 2**62), "expected ids of stored transitions"),
    (lambda b: b.gather(IDS.astype(np.int32)), r"expected ids .*got int32 \[2\]"),
    (lambda b: b.gather(IDS.reshape(1, 2)), r"expected ids .*got int64 \[1,2\]"),
    (lambda b: b.gather(IDS, context=3, out=Batch.empty(2, 4, SHAPE)), r"expected obs .*\[2,3,2,3\]"),
    (lambda b: b.gather(IDS, out=Batch.empty(3, 4, SHAPE)), "expected out with 2 rows, got 3"),
    (lambda b: b.stacks(IDS, 257), "expected 1 <= context <= 256, got 257"),
    (lambda b: b.stacks(IDS + 9), "expected ids of stored frames"),
    (lambda b: b.outcomes(IDS + 8), "expected ids of stored transitions"),
    (lambda b: b.valid_ids(0), "expected 1 <= n_step"),
    (lambda b: b.export(0, 10), r"expected stored slots within \[0, 9\), got \[0, 10\)"),
    (lambda b: b.export(3, 2), "expected stored slots"),
]


@pytest.mark.parametrize(("call", "message"), BAD_READS)
def test_bad_reads(filled, call, message):
    buffer = filled("fssssssss")
    with pytest.raises(ValueError, match=message):
        call(buffer)
    assert buffer.draws == 0


def test_a_bad_id_leaves_the_outputs_as_they_were(filled):
    buffer = filled("fsss")
    out = Batch.empty(2, 4, SHAPE)
    for array in out.arrays().values():
        array.fill(1)
    with pytest.raises(ValueError, match="got 7"):
        buffer.gather(np.array([0, 7]), out=out)
    assert all((array == 1).all() for array in out.arrays().values())


def test_negative_ids_are_refused_on_every_lane():
    buffer = ReplayBuffer(10, 3, frame_shape=SHAPE)
    for kinds in ("fff", "sss"):
        lanes = np.array(list(kinds))
        no = np.zeros(3, bool)
        buffer.add(np.zeros((3, *SHAPE), np.uint8), np.zeros(3, int), np.zeros(3), no, no, lanes == "f")
    for wrong in range(-4, 0):
        with pytest.raises(ValueError, match=f"expected ids of stored transitions .*got {wrong}"):
            buffer.gather(np.array([wrong]))


def test_reading_an_empty_buffer():
    buffer = ReplayBuffer(10, 2, frame_shape=SHAPE)
    assert len(buffer) == 0
    assert len(buffer.valid_ids()) == 0
    with pytest.raises(ValueError, match="expected at least one valid transition, got none"):
        buffer.sample(1)


@pytest.mark.parametrize(
    "bad",
    [
        {"capacity": 0},
        {"num_envs": 0},
        {"num_envs": -1},
        {"frame_shape": (0, 3)},
        {"capacity": 2**62},
        {"frame_shape": (2**40, 2**40)},
        {"holdout_ratio": 1.5},
        {"holdout_ratio": np.nan},
        {"padding_type": "edge"},
        {"seed": -1},
        {"num_threads": 0},
        {"num_threads": 65},
    ],
)
def test_bad_settings(bad):
    with pytest.raises(ValueError, match=r"\] expected .*, got "):
        ReplayBuffer(**({"capacity": 10, "num_envs": 1, "frame_shape": SHAPE} | bad))
