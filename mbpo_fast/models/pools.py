"""Which transitions a member of the world model trains on: its bootstrap sample, and all rare ones."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.models.config import ModelConfig
from mbpo_fast.ops import Stream, random_integers, random_uniform, random_words_at

Ids = NDArray[np.int64]

UNIFORM_SHARE = 0.25
"""What the newest quarter's share is when nothing is preferred."""
NEAR_END = 4
"""So many steps before an end are those that are easily taken for it."""


class Pool(NamedTuple):
    """What one member draws from, ids of transitions: `own` is its bootstrap sample, with repetitions.

    The rare ones are every member's: a sample of its own would hold 63 % of them, and they are few.
    """

    own: Ids
    rewarded: Ids
    ended: Ids
    near_end: Ids


def member_pools(
    ids: Ids,
    reward: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    *,
    num_envs: int,
    members: int,
    seed: int,
) -> list[Pool]:
    """The pool of each member from the transitions `ids` i64 [K] of a replay buffer with `num_envs` lanes.

    reward f32, terminated bool [K]. Steps of one lane are `num_envs` ids apart.
    """
    ends = ids[terminated]
    before = (ends[:, None] - num_envs * np.arange(1, NEAR_END + 1)).ravel()
    near_end = ids[np.isin(ids, before) & ~terminated]
    pools = []
    for weight in bootstrap_weights(ids, members, seed):
        own = np.repeat(ids, weight) if weight.any() else ids
        pools.append(Pool(own, ids[reward != 0], ends, near_end))
    return pools


def bootstrap_weights(ids: Ids, members: int, seed: int) -> NDArray[np.int64]:
    """How often each member's bootstrap sample holds each transition: i64 [E, K], Poisson(1).

    The draw is keyed by (seed, member, transition id), so a weight holds for life while the buffer grows;
    Poisson(1) is the limit of sampling with replacement (Oza and Russell 2001).
    """
    blocks = [
        random_words_at(seed, Stream.BOOTSTRAP, ids, np.full_like(ids, block))
        for block in range((members + 3) // 4)
    ]
    words = np.concatenate(blocks, axis=1)[:, :members].T
    cumulative = np.cumsum([math.exp(-1.0) / math.factorial(k) for k in range(8)])
    return np.searchsorted(cumulative, words * 2.0**-32, side="right")


def draw_rows(pool: Pool, config: ModelConfig, *, seed: int, step: int) -> Ids:
    """`batch_size` ids of one member, keyed by (seed, step): the rare kinds by their shares, then others."""
    size = config.batch_size
    chosen = pool.own[_places(len(pool.own), config, seed, step)]
    kinds = (
        (pool.rewarded, config.rewarded_share),
        (pool.ended, config.ended_share),
        (pool.near_end, config.near_end_share),
    )
    first = 0
    for rare, share in kinds:
        count = max(1, round(size * share)) if share and len(rare) else 0
        if count:
            draw = random_integers(seed, Stream.MODEL_BATCH, step, size, len(rare), word=2)
            chosen[first : first + count] = rare[draw[first : first + count]]
        first += count
    return chosen


def _places(count: int, config: ModelConfig, seed: int, step: int) -> Ids:
    """`batch_size` of `count` places: `recent_share` of them in the newest quarter."""
    size = config.batch_size
    if config.recent_share == UNIFORM_SHARE or count < 4:
        return random_integers(seed, Stream.MODEL_BATCH, step, size, count)
    old = count - count // 4
    newest = random_integers(seed, Stream.MODEL_BATCH, step, size, count - old) + old
    older = random_integers(seed, Stream.MODEL_BATCH, step, size, old)
    recent = random_uniform(seed, Stream.MODEL_RECENCY, step, size) < config.recent_share
    return np.where(recent, newest, older)
