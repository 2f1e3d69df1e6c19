"""Futures of replayed transitions, against a walk through the rows that were added."""

import numpy as np
import pytest

from mbpo_fast.data import MixedSampler, ModelBuffer, ReplayBuffer
from mbpo_fast.data.futures import replayed_futures

LANES, SIDE, CONTEXT = 2, 36, 3


def filled(rows: int = 60, capacity: int = 80) -> tuple[ReplayBuffer, list[list[tuple[int, int, str]]]]:
    """Frames that hold their row's number, ends of both kinds; each lane's rows as (number, action, kind)."""
    rng = np.random.default_rng(0)
    replay = ReplayBuffer(capacity, LANES, frame_shape=(SIDE, SIDE), seed=5)
    lanes: list[list[tuple[int, int, str]]] = [[] for _ in range(LANES)]
    for row in range(rows):
        kinds = []
        for lane in lanes:
            after_end = not lane or lane[-1][2] in ("terminated", "truncated")
            kinds.append(
                "first" if after_end else str(rng.choice(["", "", "", "", "terminated", "truncated"]))
            )
        action = rng.integers(0, 9, LANES)
        frame = np.stack([np.full((SIDE, SIDE), row + 100 * lane, np.uint8) for lane in range(LANES)])
        flags = ([kind == name for kind in kinds] for name in ("terminated", "truncated", "first"))
        replay.add(frame, action, np.zeros(LANES, np.float32), *flags)
        for lane, kind, own in zip(lanes, kinds, action, strict=True):
            lane.append((row, int(own), kind))
    return replay, lanes


@pytest.mark.parametrize("rows", [60, 35])
def test_futures_are_what_followed_until_the_episode_ended(rows: int) -> None:
    replay, lanes = filled(rows)
    ids = replay.valid_ids(1, context=CONTEXT)
    futures = replayed_futures(replay, ids, 4, context=CONTEXT)
    ends = set()
    for row, number in enumerate(ids):
        slot, lane = divmod(int(number), LANES)
        going = True
        for k in range(4):
            following = lanes[lane][slot + k + 1] if slot + k + 1 < rows else None
            going = going and following is not None and following[2] != "first"
            assert futures.alive[k, row] == going
            if going:
                assert futures.stacks[k, row, -1, 0, 0] == following[0] + 100 * lane
                assert futures.action[k, row] == following[1]
            else:
                ends.add("newest" if following is None else lanes[lane][slot + k][2])
    assert futures.alive[0].all(), "a transition is its own first step"
    assert {"terminated", "truncated", "newest"} <= ends


def test_the_sampler_gives_futures_to_the_real_rows_alone() -> None:
    replay, _ = filled()
    branches = ModelBuffer(4, context=CONTEXT, frame_shape=(SIDE, SIDE))
    ids = branches.begin(np.zeros((4, CONTEXT, SIDE, SIDE), np.uint8))
    zeros = np.zeros(4, np.int64)
    branches.append(ids, np.zeros((4, SIDE, SIDE), np.uint8), zeros, zeros.astype(np.float32), zeros > 0,
                    zeros.astype(np.int16))  # fmt: skip
    sampler = MixedSampler(replay, branches, 8, 0.5, context=CONTEXT)
    assert sampler.sample(2).futures is None
    batch = sampler.sample(2, future_steps=3)
    assert batch.futures is not None
    assert batch.futures.stacks.shape == (3, 4, CONTEXT, SIDE, SIDE)
    expected = replayed_futures(replay, batch.ids[:4], 3, context=CONTEXT)
    assert np.array_equal(batch.futures.stacks, expected.stacks)
    assert np.array_equal(batch.futures.action[0], batch.action[:4])
