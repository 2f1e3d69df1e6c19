"""Episodes as arrays, and their transitions addressed one by one: what a report card is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Episode:
    """T steps from the frame of a reset on, whole or cut short at any step.

    frames u8 [T + 1, h, w]; action i64, reward f32, terminated bool [T]: step t leads from frame t to t + 1.
    """

    frames: NDArray[np.uint8]
    action: NDArray[np.int64]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]

    def __post_init__(self) -> None:
        steps = len(self.frames) - 1
        lengths = (len(self.action), len(self.reward), len(self.terminated))
        if steps < 0 or lengths != (steps, steps, steps):
            raise ValueError(f"[Episode] expected one frame more than steps, got {steps + 1} and {lengths}")


def episodes_of(slots: Mapping[str, NDArray[Any]]) -> list[Episode]:
    """The episodes in rows of a replay buffer (`ReplayBuffer.export`), lane by lane.

    Rows before a lane's first reset are left out: nobody knows what came before them.
    """
    episodes = []
    for lane in range(slots["first"].shape[1]):
        begins = np.flatnonzero(slots["first"][:, lane])
        for begin, end in zip(begins, [*begins[1:], len(slots["first"])], strict=True):
            rows = {
                name: slots[name][begin:end, lane] for name in ("frame", "action", "reward", "terminated")
            }
            frames = rows.pop("frame")
            # A row's action, reward and end are those that led into its frame.
            episodes.append(Episode(frames, **{name: column[1:] for name, column in rows.items()}))
    return episodes


class Transitions:
    """The steps of episodes, each addressed by the place of the frame that it starts from.

    The frames of all episodes lie one after another, u8 [P, h, w]. `left` i64 [P] says how many steps the
    episode goes on from a frame; action i64, reward f32 and terminated bool [P] are those of the next one.
    """

    def __init__(self, episodes: Sequence[Episode]) -> None:
        if not any(len(episode.action) for episode in episodes):
            raise ValueError("[Transitions] expected episodes with a step, got none")
        lengths = [len(episode.frames) for episode in episodes]
        self.frames: NDArray[np.uint8] = np.concatenate([episode.frames for episode in episodes])
        self.left: Ids = np.concatenate([np.arange(n - 1, -1, -1, dtype=np.int64) for n in lengths])
        self._begin = np.repeat(np.cumsum([0, *lengths[:-1]]), lengths)
        # The last frame of an episode starts no step: what stands there is never asked for.
        self.action: NDArray[np.int64] = _with_gap([e.action for e in episodes])
        self.reward: NDArray[np.float32] = _with_gap([e.reward for e in episodes])
        self.terminated: NDArray[np.bool_] = _with_gap([e.terminated for e in episodes])

    def places(self) -> Ids:
        """Every place that starts a step, ascending: i64 [N]."""
        return np.flatnonzero(self.left > 0)

    def spread(self, count: int) -> Ids:
        """At most `count` of the places, evenly spread over all."""
        return evenly(self.places(), count)

    def contexts(self, places: Ids, context: int) -> NDArray[np.uint8]:
        """The newest `context` frames at each place, u8 [B, C, h, w], the reset's frame before the first."""
        ages = np.arange(context - 1, -1, -1)
        stacks: NDArray[np.uint8] = self.frames[
            np.maximum(places[:, None] - ages, self._begin[places][:, None])
        ]
        return stacks


def evenly(ids: Ids, count: int) -> Ids:
    """At most `count` of the ids, evenly spread over all."""
    return ids if len(ids) <= count else ids[np.linspace(0, len(ids) - 1, count).astype(np.int64)]


def _with_gap(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    gap = np.zeros(1, columns[0].dtype)
    return np.concatenate([part for column in columns for part in (column, gap)])
