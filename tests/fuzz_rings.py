"""What to fuzz of the replay buffer's core: frame ring, branch ring, priorities."""

from collections.abc import Callable
from typing import Any

import numpy as np
from fuzzing import Args, Target, pixels

from mbpo_fast import _core

SHAPE = (6, 5)
LANES = 3
STACK = 4
OUTCOMES = (np.int64, np.float32, np.float32, np.bool_)


class Rings:
    """Small rings whose contents are known, and a plain list of the frames that were added."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.tree = _core.SumTree(50)
        self.tree.set(np.arange(50), np.ones(50, np.float32))
        self.ring = _core.FrameRing(LANES, 40, *SHAPE)
        self.frames: list[np.ndarray] = []
        for step in range(60):
            row = frame_row(rng, first=step % 8 == 0, ended=step % 8 == 7)
            self.ring.add(*row)
            self.frames.append(row[0])
        self.branches = branches_with_a_step(rng)

    def state(self) -> tuple[int, ...]:
        ring, branches = self.ring, self.branches
        return (ring.total, ring.size, branches.total, branches.num_transitions, self.tree.size)

    def stack(self, transition: int, context: int, padding: str) -> np.ndarray:
        slot, lane = divmod(int(transition), LANES)
        episode = slot - slot % 8
        frames = [self.frames[max(s, episode)][lane] for s in range(slot - context + 1, slot + 1)]
        missing = 0 if padding == "reset" else max(0, context - 1 - slot % 8)
        return np.stack([*np.zeros((missing, *SHAPE), np.uint8), *frames[missing:]])


def frame_row(rng: np.random.Generator, *, first: bool, ended: bool) -> Args:
    none = np.zeros(LANES, bool)
    row = [pixels(rng, LANES, *SHAPE), np.zeros(LANES, np.int64), np.zeros(LANES, np.float32)]
    return [*row, np.full(LANES, ended), none, np.full(LANES, first), np.zeros(LANES, np.uint8)]


def branch_step(rng: np.random.Generator, count: int) -> Args:
    zeros, rewards = np.zeros(count, np.int64), np.ones(count, np.float32)
    return [pixels(rng, count, *SHAPE), zeros, rewards, np.zeros(count, bool), np.zeros(count, np.int16)]


def branches_with_a_step(rng: np.random.Generator) -> _core.BranchRing:
    branches = _core.BranchRing(8, STACK, 3, *SHAPE)
    branches.append(branches.begin(pixels(rng, 5, STACK, *SHAPE)), *branch_step(rng, 5))
    return branches


def on_a_copy(method: str, make: Callable[[], Any]) -> Callable[..., Any]:
    """Calls a method of a new object, which comes back too; where it is refused nothing may have changed."""

    def call(*args: Any) -> tuple[Any, Any]:
        ring = make()
        before = (ring.total, ring.size, ring.num_transitions)
        try:
            return ring, getattr(ring, method)(*args)
        except (ValueError, TypeError):
            assert (ring.total, ring.size, ring.num_transitions) == before, (method, args)
            raise

    return call


def ring_of_one_row() -> _core.FrameRing:
    ring = _core.FrameRing(LANES, 40, *SHAPE)
    ring.add(*frame_row(np.random.default_rng(0), first=True, ended=False))
    return ring


def empty(batch: int, *stacks: int) -> Args:
    """Room for rows with stacks of so many frames, then the outcomes."""
    room = [np.zeros((batch, frames, *SHAPE), np.uint8) for frames in stacks]
    return [*room, *(np.zeros(batch, kind) for kind in OUTCOMES)]


def frame_ring_targets(rings: Rings) -> list[Target]:
    ring = rings.ring

    def ids(rng: np.random.Generator, count: int) -> np.ndarray:
        return rng.choice(ring.valid_ids(1, STACK, -1), count)

    def is_gathered(ids: np.ndarray, stacks: np.ndarray, context: int, padding: str) -> bool:
        return all(np.array_equal(stacks[i], rings.stack(t, context, padding)) for i, t in enumerate(ids))

    return [
        Target(
            "FrameRing",
            _core.FrameRing,
            lambda rng: [int(rng.integers(1, 5)), int(rng.integers(2, 9)), *SHAPE, "", 1],
            lambda args, made: (made.num_envs, made.capacity, made.size) == (args[0], args[1], 0),
            trusted=(4,),
            sizes=True,
        ),
        Target(
            "FrameRing.add",
            on_a_copy("add", ring_of_one_row),
            lambda rng: frame_row(rng, first=False, ended=bool(rng.integers(2))),
            lambda args, made: np.array_equal(made[0].export_slots(1, 2)["frame"][0], args[0]),
        ),
        Target(
            "FrameRing.import_slots",
            on_a_copy("import_slots", lambda: _core.FrameRing(LANES, 40, *SHAPE)),
            lambda rng: [ring.export_slots(40, 44), 40],
            lambda args, made: made[0].size == len(args[0]["frame"]),
        ),
        Target(
            "FrameRing.gather",
            ring.gather,
            lambda rng: [ids(rng, 4), 1, 0.9, STACK, "reset", *empty(4, STACK, STACK)],
            lambda args, _: is_gathered(args[0], args[5], *args[3:5]),
        ),
        Target(
            "FrameRing.gather_windows",
            ring.gather_windows,
            lambda rng: [ids(rng, 4), 0.9, STACK, "zero", *empty(4, STACK + 1)],
            lambda args, _: is_gathered(args[0], args[4][:, :-1], *args[2:4]),
        ),
        Target(
            "FrameRing.stacks",
            ring.stacks,
            lambda rng: [ids(rng, 3), STACK, "reset", np.zeros((3, STACK, *SHAPE), np.uint8)],
            lambda args, _: is_gathered(args[0], args[3], *args[1:3]),
        ),
        Target(
            "FrameRing.sample_ids",
            ring.sample_ids,
            lambda rng: [int(rng.integers(1, 9)), int(rng.integers(1, 4)), STACK, 1, 2, 3, -1],
            lambda args, drawn: bool(np.isin(drawn, ring.valid_ids(args[1], args[2], args[6])).all()),
        ),
        Target(
            "FrameRing.valid_ids",
            ring.valid_ids,
            lambda rng: [int(rng.integers(1, 4)), int(rng.integers(1, 5)), -1],
            lambda args, valid: bool((np.diff(valid) > 0).all()) and len(valid) <= ring.num_transitions,
        ),
        Target(
            "FrameRing.outcomes",
            ring.outcomes,
            lambda rng: [ids(rng, 3), np.ones(3, np.float32), np.ones(3, bool)],
            lambda args, _: not args[1].any(),
        ),
        Target(
            "FrameRing.places",
            ring.places,
            lambda rng: [ids(rng, 3), np.zeros(3, np.int64)],
            lambda args, _: bool(((args[1] == args[0] % (LANES * 40)) | (args[1] == -1)).all()),
        ),
        Target(
            "FrameRing.export_slots",
            ring.export_slots,
            lambda rng: [40, int(rng.integers(40, 60))],
            lambda args, part: all(
                np.array_equal(frame, rings.frames[args[0] + i]) for i, frame in enumerate(part["frame"])
            ),
        ),
    ]


def branch_ring_targets(rings: Rings) -> list[Target]:
    ring = rings.branches
    one = ring.export_branches(0, 5)

    def fresh() -> _core.BranchRing:
        return branches_with_a_step(np.random.default_rng(0))

    return [
        Target(
            "BranchRing",
            _core.BranchRing,
            lambda rng: [int(rng.integers(1, 9)), STACK, int(rng.integers(1, 4)), *SHAPE],
            lambda args, made: (made.capacity, made.horizon, made.size) == (args[0], args[2], 0),
            sizes=True,
        ),
        Target(
            "BranchRing.begin",
            on_a_copy("begin", fresh),
            lambda rng: [pixels(rng, int(rng.integers(1, 9)), STACK, *SHAPE)],
            lambda args, made: made[1].tolist() == list(range(5, 5 + len(args[0]))),
        ),
        Target(
            "BranchRing.append",
            on_a_copy("append", fresh),
            lambda rng: [rng.permutation(5)[:3], *branch_step(rng, 3)],
            lambda args, made: made[0].num_transitions == 5 + len(args[0]),
        ),
        Target(
            "BranchRing.gather",
            ring.gather,
            lambda rng: [rng.integers(0, 5, 4) * 3, 1, 0.9, STACK, *empty(4, STACK, STACK)],
            lambda args, _: all(
                np.array_equal(args[5][i], one["frame"][t // 3, 1 + STACK - args[3] : 1 + STACK])
                for i, t in enumerate(args[0])
            ),
        ),
        Target(
            "BranchRing.latest",
            ring.latest,
            lambda rng: [np.arange(5), STACK, np.zeros((5, STACK, *SHAPE), np.uint8)],
            lambda args, _: all(
                np.array_equal(args[2][i], one["frame"][b, 1 + STACK - args[1] : 1 + STACK])
                for i, b in enumerate(args[0])
            ),
        ),
        Target(
            "BranchRing.sample_ids",
            ring.sample_ids,
            lambda rng: [int(rng.integers(1, 9)), 1, 2, 3],
            lambda args, drawn: len(drawn) == args[0] and bool(np.isin(drawn, np.arange(5) * 3).all()),
        ),
        Target(
            "BranchRing.export_branches",
            ring.export_branches,
            lambda rng: [0, int(rng.integers(0, 6))],
            lambda args, part: np.array_equal(part["frame"], one["frame"][args[0] : args[1]]),
        ),
        Target(
            "BranchRing.import_branches",
            on_a_copy("import_branches", lambda: _core.BranchRing(8, STACK, 3, *SHAPE)),
            lambda rng: [dict(one), int(rng.integers(0, 9))],
            lambda args, made: made[0].size == len(args[0]["length"]),
        ),
    ]


def sum_tree_targets(rings: Rings) -> list[Target]:
    tree = rings.tree
    return [
        Target(
            "SumTree",
            _core.SumTree,
            lambda rng: [int(rng.integers(1, 300))],
            lambda args, made: made.size == args[0] and made.total == 0,
            sizes=True,
        ),
        Target(
            "SumTree.set",
            tree.set,
            lambda rng: [rng.integers(0, 50, 6), rng.random(6, np.float32)],
            lambda args, _: np.array_equal(tree.get(args[0][-1:]), args[1][-1:]),
        ),
        Target(
            "SumTree.get",
            tree.get,
            lambda rng: [rng.integers(0, 50, 6)],
            lambda args, values: len(values) == len(args[0]) and bool((values >= 0).all()),
        ),
        Target(
            "SumTree.find",
            tree.find,
            lambda rng: [rng.random()],
            lambda _, leaf: leaf == -1 or 0 <= leaf < 50,
        ),
    ]
