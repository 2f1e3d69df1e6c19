"""Ten thousand calls on the bindings, with arguments that are partly wrong: a right answer or a clear error.

A wrong argument is drawn from what users mix up: types, shapes, signs, sizes, layouts, read-only arrays. Run
on the instrumented build (`make sanitize`) this also says that no call reads or writes where it should not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mbpo_fast import _core
from mbpo_fast.ops import reference

CALLS = 10_000
SHAPE = (6, 5)
LANES = 3
Args = list[Any]


@dataclass(frozen=True)
class Target:
    """A binding, arguments that fit it, and whether a result is right for them."""

    name: str
    call: Callable[..., Any]
    fitting: Callable[[np.random.Generator], Args]
    is_right: Callable[[Args, Any], bool]


def pixels(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, np.uint8)


def flags(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.random(shape) < 0.3


class World:
    """Small instances of every class, and a plain list of the rows that were added to the ring."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.tree = _core.SumTree(50)
        self.tree.set(np.arange(50), np.ones(50, np.float32))
        self.ring = _core.FrameRing(LANES, 40, *SHAPE)
        self.frames: list[np.ndarray] = []
        for step in range(60):
            self.add(rng, first=np.full(LANES, step % 8 == 0), ended=np.full(LANES, step % 8 == 7))
        self.branches = _core.BranchRing(8, 4, 3, *SHAPE)
        ids = self.branches.begin(pixels(rng, 5, 4, *SHAPE))
        zeros, rewards = np.zeros(5, np.int64), np.zeros(5, np.float32)
        ends, members = np.zeros(5, bool), np.zeros(5, np.int16)
        self.branches.append(ids, pixels(rng, 5, *SHAPE), zeros, rewards, ends, members)

    def add(self, rng: np.random.Generator, first: np.ndarray, ended: np.ndarray) -> None:
        frame = pixels(rng, LANES, *SHAPE)
        zeros = np.zeros(LANES, np.int64)
        none = np.zeros(LANES, bool)
        self.ring.add(
            frame, zeros, np.zeros(LANES, np.float32), ended, none, first, np.zeros(LANES, np.uint8)
        )
        self.frames.append(frame)

    def stack(self, transition: int, context: int, padding: str) -> np.ndarray:
        slot, lane = divmod(int(transition), LANES)
        episode = slot - slot % 8
        frames = [self.frames[max(s, episode)][lane] for s in range(slot - context + 1, slot + 1)]
        missing = 0 if padding == "reset" else max(0, context - 1 - slot % 8)
        return np.stack([*np.zeros((missing, *SHAPE), np.uint8), *frames[missing:]])


def targets(world: World) -> list[Target]:
    ring, tree = world.ring, world.tree
    room = (np.uint8, np.uint8, np.int64, np.float32, np.float32, np.bool_)

    def gather_args(rng: np.random.Generator) -> Args:
        ids = rng.choice(ring.valid_ids(1, 4, -1), 4)
        shapes = [(4, 4, *SHAPE)] * 2 + [(4,)] * 4
        return [ids, 1, 0.9, 4, "reset", *(np.zeros(s, t) for s, t in zip(shapes, room, strict=True))]

    def is_gathered(args: Args, _: Any) -> bool:
        return all(
            np.array_equal(args[5][i], world.stack(t, args[3], args[4])) for i, t in enumerate(args[0])
        )

    def stack_args(rng: np.random.Generator) -> Args:
        return [rng.choice(ring.valid_ids(1, 4, -1), 3), 4, "reset", np.zeros((3, 4, *SHAPE), np.uint8)]

    def tree_args(rng: np.random.Generator) -> Args:
        return [rng.integers(0, 50, 6), rng.random(6, np.float32)]

    return [
        Target(
            "preprocess_frames",
            _core.preprocess_frames,
            lambda rng: [pixels(rng, 2, 2, 10, 8), np.zeros((2, 5, 6), np.uint8), int(rng.integers(1, 4))],
            lambda args, _: np.array_equal(args[1], reference.preprocess(args[0], args[1].shape[1:])),
        ),
        Target(
            "look_up_gray",
            _core.look_up_gray,
            lambda rng: [pixels(rng, 7, 19), pixels(rng, 256), np.zeros((7, 19), np.uint8)],
            lambda args, largest: (
                np.array_equal(args[2], args[1][args[0]]) and largest == args[2].max(initial=0)
            ),
        ),
        Target(
            "random_integers",
            _core.random_integers,
            lambda rng: [*rng.integers(0, 99, 3).tolist(), int(rng.integers(0, 9)), 7, 1],
            lambda args, drawn: len(drawn) == args[3] and all(0 <= x < args[4] for x in drawn.tolist()),
        ),
        Target(
            "random_words",
            _core.random_words,
            lambda rng: [*rng.integers(0, 99, 3).tolist(), 3],
            lambda args, drawn: all(
                tuple(row) == reference.words(*(int(x) for x in args[:3]), lane)
                for lane, row in enumerate(drawn[:4].tolist())
            ),
        ),
        Target(
            "SumTree.set",
            tree.set,
            tree_args,
            lambda args, _: np.array_equal(tree.get(args[0][-1:]), args[1][-1:]),
        ),
        Target(
            "SumTree.find",
            tree.find,
            lambda rng: [rng.random()],
            lambda _, leaf: leaf == -1 or 0 <= leaf < 50,
        ),
        Target("FrameRing.gather", ring.gather, gather_args, is_gathered),
        Target(
            "FrameRing.stacks",
            ring.stacks,
            stack_args,
            lambda args, _: all(
                np.array_equal(args[3][i], world.stack(t, *args[1:3])) for i, t in enumerate(args[0])
            ),
        ),
        Target(
            "FrameRing.sample_ids",
            ring.sample_ids,
            lambda rng: [int(rng.integers(1, 9)), int(rng.integers(1, 4)), 4, 1, 2, 3, -1],
            lambda args, ids: np.isin(ids, ring.valid_ids(args[1], args[2], args[6])).all(),
        ),
        Target(
            "FrameRing.outcomes",
            ring.outcomes,
            lambda rng: [rng.choice(ring.valid_ids(1, 4, -1), 3), np.ones(3, np.float32), np.ones(3, bool)],
            lambda args, _: not args[1].any(),
        ),
        Target(
            "FrameRing.places",
            ring.places,
            lambda rng: [rng.choice(ring.valid_ids(1, 4, -1), 3), np.zeros(3, np.int64)],
            lambda args, _: ((args[1] == args[0] % (LANES * 40)) | (args[1] == -1)).all(),
        ),
        Target(
            "FrameRing.export_slots",
            ring.export_slots,
            lambda rng: [40, int(rng.integers(40, 60))],
            lambda args, part: all(
                np.array_equal(frame, world.frames[args[0] + i]) for i, frame in enumerate(part["frame"])
            ),
        ),
        Target(
            "BranchRing.latest",
            world.branches.latest,
            lambda rng: [np.arange(5), 4, np.zeros((5, 4, *SHAPE), np.uint8)],
            lambda args, _: args[2].any() or not len(args[0]),
        ),
        Target(
            "BranchRing.sample_ids",
            world.branches.sample_ids,
            lambda rng: [2, 1, 2, 3],
            lambda args, ids: len(ids) == args[0],
        ),
    ]


def wrong(rng: np.random.Generator, value: Any) -> Any:
    """Something else than `value`, or the same in another form."""
    if isinstance(value, np.ndarray):
        frozen = value.copy()
        frozen.setflags(write=False)
        others = [
            lambda: value.astype(rng.choice([np.float64, np.int32, np.uint8, np.int64, np.bool_])),
            lambda: value[:0],
            lambda: value[:-1],
            lambda: value[::-1],
            lambda: np.concatenate([value, value]),
            lambda: np.repeat(value, 2, axis=-1)[..., ::2],
            lambda: value[None],
            lambda: value.T,
            lambda: frozen,
            lambda: value.tolist(),
            lambda: np.where(flags(rng, *value.shape), -1, value).astype(value.dtype),
            lambda: np.full_like(value, 1 if value.dtype == bool else np.iinfo(np.int8).max),
            lambda: None,
        ]
        return others[rng.integers(len(others))]()
    others = [
        -1,
        0,
        1,
        2,
        3,
        300,
        2**40,
        2**63 - 1,
        2**63,
        -(2**63) - 1,
        2**64,
        1.5,
        np.nan,
        np.inf,
        None,
    ]
    others += ["", "zero", "reset", np.int8(2), np.float32(1), True, [], np.zeros(3)]
    return others[rng.integers(len(others))]


@pytest.mark.parametrize("seed", range(4))
def test_every_call_gives_a_right_answer_or_a_clear_error(seed):
    rng = np.random.default_rng(seed)
    world = World()
    everything = targets(world)
    answers = dict.fromkeys((target.name for target in everything), 0)
    errors = dict(answers)
    unclear: list[Any] = []
    for _ in range(CALLS // 4):
        target = everything[rng.integers(len(everything))]
        args = target.fitting(rng)
        for place in rng.choice(len(args), rng.integers(0, min(3, len(args) + 1)), replace=False):
            args[place] = wrong(rng, args[place])
        state = (world.ring.total, world.ring.size, world.branches.total, world.tree.size)
        try:
            result = target.call(*args)
        except (ValueError, TypeError) as error:
            if not str(error).startswith(("[", target.name.split(".")[-1] + "()")):
                unclear.append((target.name, args, error))
            errors[target.name] += 1
        except MemoryError:
            errors[target.name] += 1
        else:
            assert target.is_right(args, result), (target.name, args, result)
            answers[target.name] += 1
        assert state == (world.ring.total, world.ring.size, world.branches.total, world.tree.size)
    assert not unclear
    assert min(answers.values()) > 10, answers
    assert min(errors.values()) > 5, errors
