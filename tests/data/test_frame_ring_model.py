"""The frame ring against a plain Python model, over random histories."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mbpo_fast import _core
from mbpo_fast.data import Batch
from mbpo_fast.ops import reference

SHAPE = (2, 3)
SPLIT = st.sampled_from([-1, 0, 1])
REWARD = st.floats(-2, 2, width=32)
EVENTS = st.sampled_from(["step", "step", "step", "terminate", "truncate", "cut"])


def frame_of(slot: int, lane: int) -> np.ndarray:
    return ((np.arange(6) * 5 + slot * 7 + lane * 101) % 256).astype(np.uint8).reshape(SHAPE)


def arrays_of(rows: list[reference.Slot]) -> dict[str, np.ndarray]:
    dtypes = {"action": "i8", "reward": "f4", "split": "u1"} | dict.fromkeys(
        ("terminated", "truncated", "first"), "?"
    )
    arrays = {name: np.array([getattr(row, name) for row in rows], kind) for name, kind in dtypes.items()}
    return {"frame": np.stack([row.frame for row in rows]), **arrays}


def gathered(ring: _core.FrameRing, ids: np.ndarray, *spec: object) -> Batch:
    n_step, gamma, context, padding = spec
    out = Batch.empty(len(ids), context, SHAPE)
    fields = {name: array for name, array in out.arrays().items() if name not in ("ids", "weight")}
    ring.gather(ids, n_step, gamma, context, padding, **fields)
    return out


def assert_row_equal(batch: Batch, index: int, row: reference.Row) -> None:
    for name in ("obs", "next_obs", "action", "reward", "discount", "terminated"):
        assert np.array_equal(getattr(batch, name)[index], getattr(row, name)), name


class FrameRingMachine(RuleBasedStateMachine):
    @initialize(num_envs=st.integers(1, 3), capacity=st.integers(2, 9))
    def create(self, num_envs: int, capacity: int) -> None:
        self.ring = _core.FrameRing(num_envs, capacity, *SHAPE)
        self.model = reference.FrameRing(num_envs, capacity)

    @rule(draw=st.data())
    def add(self, draw: st.DataObject) -> None:
        rows = [self.next_slot(lane, draw) for lane in range(self.model.num_envs)]
        self.ring.add(**arrays_of(rows))
        self.model.add(rows)

    def next_slot(self, lane: int, draw: st.DataObject) -> reference.Slot:
        event = draw.draw(EVENTS)
        last = self.model.slots[-1][lane] if self.model.slots else None
        first = last is None or last.terminated or last.truncated or event == "cut"
        return reference.Slot(
            frame_of(self.model.total, lane),
            draw.draw(st.integers(0, 17)),
            np.float32(draw.draw(REWARD)),
            event == "terminate" and not first,
            event == "truncate" and not first,
            first,
            draw.draw(st.integers(0, 1)) if first else last.split,
        )

    @rule(
        n_step=st.integers(1, 4),
        context=st.integers(1, 5),
        gamma=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
        padding=st.sampled_from(["reset", "zero"]),
        split=SPLIT,
    )
    def read(self, n_step: int, context: int, gamma: float, padding: str, split: int) -> None:
        ids = self.ring.valid_ids(n_step, context, split)
        assert ids.tolist() == self.model.valid_ids(n_step, context, split)
        if len(ids):
            batch = gathered(self.ring, ids, n_step, gamma, context, padding)
            for i, transition in enumerate(ids.tolist()):
                assert_row_equal(batch, i, self.model.gather(transition, n_step, gamma, context, padding))

    @rule(n_step=st.integers(1, 3), context=st.integers(1, 4), step=st.integers(0, 2**64 - 1), split=SPLIT)
    def sample(self, n_step: int, context: int, step: int, split: int) -> None:
        if not self.model.valid_ids(n_step, context, split):
            return
        ids = self.ring.sample_ids(5, n_step, context, 7, 2, step, split)
        assert ids.tolist() == self.model.sample_ids(5, n_step, context, (7, 2, step), split)

    @rule(cut=st.floats(0, 1))
    def move_to_another_ring(self, cut: float) -> None:
        copy = _core.FrameRing(self.model.num_envs, self.model.capacity, *SHAPE)
        oldest, total = self.model.oldest, self.model.total
        middle = oldest + int(cut * (total - oldest))
        for first, last in ((oldest, middle), (middle, total)):
            segment = self.ring.export_slots(first, last)
            self.check_segment(segment, first)
            copy.import_slots(segment, first)
        self.ring = copy

    def check_segment(self, segment: dict[str, np.ndarray], first: int) -> None:
        for i, begins in enumerate(segment["first"]):
            expected = arrays_of(self.model.slots[first + i])
            for name in ("action", "reward"):
                expected[name][begins] = 0
            assert all(np.array_equal(segment[name][i], expected[name]) for name in segment)

    @invariant()
    def counters_agree(self) -> None:
        assert self.ring.total == self.model.total
        assert self.ring.size == self.model.total - self.model.oldest
        assert self.ring.num_transitions == len(self.model.valid_ids(1, 1))


TestFrameRing = FrameRingMachine.TestCase
TestFrameRing.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)


def test_rare_transitions_are_drawn_as_in_the_reference():
    # One valid transition of 400: rejection often gives up, and the exact list takes over.
    ring, model = _core.FrameRing(1, 400, *SHAPE), reference.FrameRing(1, 400)
    for slot in range(400):
        first = slot != 123
        rows = [reference.Slot(frame_of(slot, 0), 0, np.float32(0), False, False, first, 0)]
        ring.add(**arrays_of(rows))
        model.add(rows)
    ids = ring.sample_ids(8, 1, 4, 0, 2, 0, -1)
    assert ids.tolist() == model.sample_ids(8, 1, 4, (0, 2, 0)) == [122] * 8
