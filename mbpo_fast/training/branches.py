"""Imagined branches as a rollout that an on-policy learner can learn from."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.agents import PPO, generalized_advantages
from mbpo_fast.training.rollout_storage import Gather, Rollout

_CHUNK = 512
"""States appraised together."""


def branches_wanted(real_rows: int, real_ratio: float, horizon: int) -> int:
    """Branches of `horizon` steps beside which `real_rows` are a share of `real_ratio`, rounded up."""
    return math.ceil(real_rows * (1 - real_ratio) / (real_ratio * horizon))


def imagined_rollout(branches: Mapping[str, NDArray[Any]], agent: PPO) -> Rollout:
    """The steps of `ModelBuffer.export`'s branches, appraised by the policy that they were drawn from.

    Every branch is an episode of its own; one that the model did not end bootstraps from the value of its
    last frame. The agent must not have learned since: its log-probabilities are those that the actions had.
    """
    frames, action = branches["frame"], branches["action"]
    horizon = action.shape[1]
    stack_size = frames.shape[1] - horizon
    reached = np.arange(horizon + 1) <= branches["length"][:, None]
    made = reached[:, 1:]

    def gather(ids: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        branch, step = np.divmod(ids, horizon + 1)
        out[:] = frames[branch[:, None], step[:, None] + np.arange(stack_size)]

    log_probs, value = _appraised(reached, gather, (stack_size, *frames.shape[2:]), agent)
    cut_off = made & ~np.pad(made[:, 1:], ((0, 0), (0, 1))) & ~branches["terminated"]
    advantage = generalized_advantages(
        branches["reward"].T,
        value.T,
        branches["terminated"].T,
        cut_off.T,
        gamma=agent.config.gamma,
        gae_lambda=agent.config.gae_lambda,
    ).T
    log_prob = np.take_along_axis(log_probs[:, :-1], action[:, :, None], 2)[:, :, 0]
    ids = np.arange(reached.size).reshape(reached.shape)[:, :-1]
    value = value[:, :-1]
    return Rollout(
        gather,
        ids=ids[made],
        action=action[made],
        log_prob=log_prob[made],
        value=value[made],
        advantage=advantage[made],
        returns=(advantage + value)[made],
    )


def _appraised(
    reached: NDArray[np.bool_], gather: Gather, shape: tuple[int, ...], agent: PPO
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Log-probabilities f32 [S, H + 1, A] and values f32 [S, H + 1] of the states reached, 0 elsewhere."""
    log_probs = np.zeros((reached.size, agent.num_actions), np.float32)
    value = np.zeros(reached.size, np.float32)
    ids = reached.ravel().nonzero()[0]
    for first in range(0, len(ids), _CHUNK):
        some = ids[first : first + _CHUNK]
        stacks = np.empty((len(some), *shape), np.uint8)
        gather(some, stacks)
        log_probs[some], value[some] = agent.appraise(stacks)
    return log_probs.reshape(*reached.shape, -1), value.reshape(reached.shape)
