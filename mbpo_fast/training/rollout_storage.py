"""The steps that an on-policy learner learns from once and then forgets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.agents import Decision, PolicyBatch, PPOConfig, generalized_advantages
from mbpo_fast.data import ReplayBuffer
from mbpo_fast.ops import Stream, random_words

Gather = Callable[[NDArray[np.int64], NDArray[np.uint8]], None]
"""Writes the stacks that the actions of ids i64 [B] were drawn on into u8 [B, S, h, w]."""


@dataclass(frozen=True, eq=False)
class Rollout:
    """The M steps of a rollout that can be learned from: their ids, and columns [M]."""

    gather: Gather
    ids: NDArray[np.int64]
    action: NDArray[np.int64]
    log_prob: NDArray[np.float32]
    value: NDArray[np.float32]
    advantage: NDArray[np.float32]
    returns: NDArray[np.float32]


class RolloutStorage:
    """`steps` steps of N environments: frames and outcomes in a replay buffer, the policy's words beside it.

    `note` a decision before the row that answers it is added to the buffer. Slots begin to begin + steps of
    the buffer hold the rollout: T steps lie between T + 1 frames.
    """

    def __init__(self, replay: ReplayBuffer, steps: int, stack_size: int) -> None:
        self.replay, self.steps, self.stack_size = replay, steps, stack_size
        self.filled = 0
        self._log_prob = np.zeros((steps, replay.num_envs), np.float32)
        self._value = np.zeros((steps + 1, replay.num_envs), np.float32)
        self._obs = np.empty((0, stack_size, *replay.frame_shape), np.uint8)

    @property
    def full(self) -> bool:
        """Whether it is time to learn."""
        return self.filled == self.steps

    def note(self, decision: Decision) -> None:
        """What the policy thought of the step that is about to be made."""
        self._log_prob[self.filled] = decision.log_prob
        self._value[self.filled] = decision.value
        self.filled += 1

    def take(self, last_value: NDArray[np.float32], config: PPOConfig) -> Rollout:
        """The rollout with its advantages, f32 [N] being the values of the states it ends in; empties itself.

        Steps that only carry a reset are left out: their actions had no effect.
        """
        end = self.replay.total
        begin = end - 1 - self.filled
        rows = self.replay.export(begin + 1, end)
        self._value[self.filled] = last_value
        advantage = generalized_advantages(
            rows["reward"],
            self._value,
            rows["terminated"],
            rows["truncated"],
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
        )
        value = self._value[:-1]
        made = ~rows["first"]
        ids = np.arange(begin, end - 1)[:, None] * self.replay.num_envs + np.arange(self.replay.num_envs)
        columns = (ids, rows["action"], self._log_prob, value, advantage, advantage + value)
        self.filled = 0
        return Rollout(self._gather, *(column[made] for column in columns))

    def _gather(self, ids: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        self.replay.stacks(ids, self.stack_size, out=out)

    def minibatches(
        self, rollouts: Sequence[Rollout], count: int, *, seed: int, step: int
    ) -> Iterator[PolicyBatch]:
        """One pass over rollouts in `count` parts, shuffled by (seed, step).

        Each part has its share (+-1) of every rollout. Observations are gathered into memory that the next
        part overwrites.
        """
        orders = _shuffled([len(rollout.ids) for rollout in rollouts], seed, step)
        shares = [np.array_split(order, count) for order in orders]
        for part in range(count):
            chosen = [(rollout, share[part]) for rollout, share in zip(rollouts, shares, strict=True)]
            if any(len(rows) for _, rows in chosen):
                yield self._batch(chosen)

    def _batch(self, chosen: Sequence[tuple[Rollout, NDArray[np.int64]]]) -> PolicyBatch:
        """The chosen rows of each rollout, one after the other."""
        ends = np.cumsum([len(rows) for _, rows in chosen])
        if len(self._obs) < ends[-1]:
            self._obs = np.empty((ends[-1], *self._obs.shape[1:]), np.uint8)
        for (rollout, rows), end in zip(chosen, ends, strict=True):
            rollout.gather(rollout.ids[rows], self._obs[end - len(rows) : end])
        columns = ("action", "log_prob", "value", "advantage", "returns")
        picked = {
            name: np.concatenate([getattr(rollout, name)[rows] for rollout, rows in chosen])
            for name in columns
        }
        return PolicyBatch(obs=self._obs[: ends[-1]], **picked)

    def state_dict(self) -> dict[str, Any]:
        """The rollout under way, but for what the replay buffer holds."""
        return {"log_prob": self._log_prob[: self.filled], "value": self._value[: self.filled]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        log_prob = np.asarray(state["log_prob"])
        self.filled = len(log_prob)
        self._log_prob[: self.filled] = log_prob
        self._value[: self.filled] = np.asarray(state["value"])


def _shuffled(counts: Sequence[int], seed: int, step: int) -> list[NDArray[np.int64]]:
    """A permutation of 0..count-1 for every count: the order of `count` random 64-bit numbers."""
    words = random_words(seed, Stream.MINIBATCH, step, sum(counts))
    ends = np.cumsum(counts)
    parts = [words[end - count : end] for count, end in zip(counts, ends, strict=True)]
    return [np.lexsort((part[:, 1], part[:, 0])) for part in parts]
