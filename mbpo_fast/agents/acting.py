"""From probabilities and greedy choices to actions; draws follow from seed, stream, step and row alone."""

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.ops import Stream, random_integers, random_uniform


def drawn_actions(
    probabilities: NDArray[np.floating], *, seed: int, stream: Stream, step: int, first_row: int = 0
) -> NDArray[np.int64]:
    """Actions i64 [B] drawn from probabilities [B, A]; takes word 3 of each row's draw.

    `first_row`: the number of the first row, where these are a part of more rows.
    """
    uniform = random_uniform(seed, stream, step, first_row + len(probabilities), word=3)
    return inverse_cumulative(probabilities, uniform[first_row:])


def inverse_cumulative(
    probabilities: NDArray[np.floating], uniform: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Where uniform [B] in [0, 1) falls among the cumulated probabilities [B, A]: i64 [B]."""
    reached = probabilities.astype(np.float64).cumsum(axis=1)
    # Times the sum, which rounding leaves a little off 1.
    passed = reached[:, :-1] <= uniform[:, None] * reached[:, -1:]
    return np.asarray(passed.sum(axis=1), np.int64)


def mixed_with_random(
    action: NDArray[np.int64], num_actions: int, epsilon: float, *, seed: int, stream: Stream, step: int
) -> NDArray[np.int64]:
    """The actions i64 [B], a share `epsilon` of them replaced by uniform ones.

    Takes words 0 to 2 of each row's draw.
    """
    lanes = len(action)
    explore = random_uniform(seed, stream, step, lanes, word=0) < epsilon
    return np.where(explore, random_integers(seed, stream, step, lanes, num_actions, word=1), action)
