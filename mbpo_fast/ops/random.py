"""Counter-based random numbers: a number is a pure function of (seed, stream, step, lane).

Philox4x32-10 (Salmon et al. 2011); key (seed low, seed high), counter (lane, step low, step high, stream).
Every backend draws the same numbers, and a random state is nothing but a step counter.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from mbpo_fast import _core


class Stream(IntEnum):
    """What a draw is for; two purposes never share numbers."""

    EXPLORE = 1
    REPLAY = 2
    MODEL_BUFFER = 3
    HOLDOUT = 4
    BOOTSTRAP = 5
    ROLLOUT_ACTION = 6
    ROLLOUT_MEMBER = 7
    START_STATES = 8
    MODEL_BATCH = 9
    AUGMENT = 10
    NOOP = 11
    CATCH = 12
    INIT = 13
    MODEL_RECENCY = 15
    MODEL_DROPOUT = 16
    MODEL_SHIFT = 17
    MINIBATCH = 20
    SHUFFLE = 21


def random_words(seed: int, stream: int, step: int, lanes: int) -> npt.NDArray[np.uint32]:
    """The four 32-bit words of lanes 0..lanes-1: uint32 [lanes, 4].

    `seed` and `step` in [0, 2**64), `stream` in [0, 2**32); ValueError otherwise.
    """
    return _core.random_words(seed, stream, step, lanes)


def random_uniform(seed: int, stream: int, step: int, lanes: int, word: int = 0) -> npt.NDArray[np.float32]:
    """Uniform numbers in [0, 1), multiples of 2**-24, one a lane, from its word `word`: float32 [lanes]."""
    return _core.random_uniform(seed, stream, step, lanes, word)


def random_integers(
    seed: int, stream: int, step: int, lanes: int, high: int, word: int = 0
) -> npt.NDArray[np.int64]:
    """Integers in [0, high), one a lane: int64 [lanes].

    The high half of `high` times the 64-bit number whose upper half is `word`, its lower half the next word.
    """
    return _core.random_integers(seed, stream, step, lanes, high, word)


def random_words_at(
    seed: int, stream: int, steps: npt.NDArray[np.int64], lanes: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint32]:
    """The four words of an explicit (step, lane) per row, both int64 [n] and not negative: uint32 [n, 4]."""
    return _core.random_words_at(seed, stream, steps, lanes)
