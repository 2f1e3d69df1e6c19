"""The branch ring against a plain Python model, over random histories."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mbpo_fast import _core
from mbpo_fast.data import Batch
from mbpo_fast.ops import reference

SHAPE = (2, 3)


class BranchRingMachine(RuleBasedStateMachine):
    @initialize(capacity=st.integers(1, 6), context=st.integers(1, 5), horizon=st.integers(1, 4))
    def create(self, capacity: int, context: int, horizon: int) -> None:
        self.ring = _core.BranchRing(capacity, context, horizon, *SHAPE)
        self.model = reference.BranchRing(capacity, context, horizon)
        self.frames = 0

    def new_frame(self) -> np.ndarray:
        self.frames += 1
        return ((np.arange(6) * 5 + self.frames * 7) % 256).astype(np.uint8).reshape(SHAPE)

    def open_branches(self) -> list[int]:
        stored = range(self.model.oldest, len(self.model.branches))
        return [branch for branch in stored if self.is_open(self.model.branches[branch].steps)]

    def is_open(self, steps: list[tuple[int, np.float32, bool, int]]) -> bool:
        return len(steps) < self.model.horizon and not (steps and steps[-1][2])

    @rule(share=st.floats(0, 1))
    def begin(self, share: float) -> None:
        count = 1 + int(share * (self.model.capacity - 1))
        start = np.stack([[self.new_frame() for _ in range(self.model.context)] for _ in range(count)])
        ids = self.ring.begin(start)
        assert ids.tolist() == [self.model.begin(stack) for stack in start]

    @precondition(lambda self: self.open_branches())
    @rule(draw=st.data())
    def append(self, draw: st.DataObject) -> None:
        ids = draw.draw(st.lists(st.sampled_from(self.open_branches()), unique=True, min_size=1))
        frame = np.stack([self.new_frame() for _ in ids])
        steps = [self.draw_step(draw) for _ in ids]
        kinds = (np.int64, np.float32, np.bool_, np.int16)
        columns = [np.array([step[i] for step in steps], kind) for i, kind in enumerate(kinds)]
        self.ring.append(np.array(ids), frame, *columns)
        for branch, image, step in zip(ids, frame, steps, strict=True):
            self.model.append(branch, image, step)

    @staticmethod
    def draw_step(draw: st.DataObject) -> tuple[int, np.float32, bool, int]:
        action, ended = draw.draw(st.integers(0, 17)), draw.draw(st.integers(0, 3)) == 0
        return action, np.float32(draw.draw(st.floats(-2, 2, width=32))), ended, draw.draw(st.integers(-1, 6))

    @rule(n_step=st.integers(1, 5), gamma=st.sampled_from([0.0, 0.5, 0.99, 1.0]), share=st.floats(0, 1))
    def read(self, n_step: int, gamma: float, share: float) -> None:
        context = 1 + int(share * (self.model.context - 1))
        ids = np.array(self.model.ids(), np.int64)
        if not len(ids):
            return
        out = Batch.empty(len(ids), context, SHAPE)
        fields = {name: array for name, array in out.arrays().items() if name not in ("ids", "weight")}
        self.ring.gather(ids, n_step, gamma, context, **fields)
        for i, transition in enumerate(ids.tolist()):
            row = self.model.gather(transition, n_step, gamma, context)
            for name in fields:
                assert np.array_equal(getattr(out, name)[i], getattr(row, name)), name

    @precondition(lambda self: self.model.branches)
    @rule(share=st.floats(0, 1))
    def newest(self, share: float) -> None:
        context = 1 + int(share * (self.model.context - 1))
        ids = np.arange(self.model.oldest, len(self.model.branches))
        out = np.empty((len(ids), context, *SHAPE), np.uint8)
        self.ring.latest(ids, context, out)
        assert np.array_equal(out, np.stack([self.model.latest(branch, context) for branch in ids]))

    @precondition(lambda self: self.model.ids())
    @rule(step=st.integers(0, 2**64 - 1))
    def sample(self, step: int) -> None:
        assert self.ring.sample_ids(5, 7, 3, step).tolist() == self.model.sample_ids(5, (7, 3, step))

    @rule(cut=st.floats(0, 1))
    def move_to_another_ring(self, cut: float) -> None:
        copy = _core.BranchRing(self.model.capacity, self.model.context, self.model.horizon, *SHAPE)
        oldest, total = self.model.oldest, len(self.model.branches)
        middle = oldest + int(cut * (total - oldest))
        for first, last in ((oldest, middle), (middle, total)):
            copy.import_branches(self.ring.export_branches(first, last), first)
        self.ring = copy

    @invariant()
    def counters_agree(self) -> None:
        assert self.ring.total == len(self.model.branches)
        assert self.ring.size == len(self.model.branches) - self.model.oldest
        assert self.ring.num_transitions == len(self.model.ids())


TestBranchRing = BranchRingMachine.TestCase
TestBranchRing.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
