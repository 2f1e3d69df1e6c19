"""Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438, equations 11 and 16)."""

import numpy as np
from numpy.typing import NDArray


def generalized_advantages(
    reward: NDArray[np.float32],
    value: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    *,
    gamma: float,
    gae_lambda: float,
) -> NDArray[np.float32]:
    """Advantages f32 [T, N] of T steps in N environments.

    Step t leads from state t to state t + 1 and gives reward[t], terminated[t] and truncated[t], all [T, N].
    value [T + 1, N] is the critic's word on each state; after an end, that is the episode's true last one.
    Only `terminated` takes the bootstrap away; both ends stop the sum. A step that only carries a reset gets
    a number too, which nothing else depends on: leave it out.
    """
    delta = reward + gamma * np.where(terminated, np.float32(0), value[1:]) - value[:-1]
    carried = np.where(terminated | truncated, np.float32(0), np.float32(gamma * gae_lambda))
    advantage = np.zeros_like(delta, dtype=np.float32)
    following = np.zeros(delta.shape[1], np.float32)
    for t in reversed(range(len(delta))):
        following = delta[t] + carried[t] * following
        advantage[t] = following
    return advantage
