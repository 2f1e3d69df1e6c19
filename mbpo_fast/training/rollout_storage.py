"""The steps that an on-policy learner learns from once and then forgets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.agents import Decision, PolicyBatch, PPOConfig, generalized_advantages
from mbpo_fast.data import ReplayBuffer
from mbpo_fast.ops import Stream, random_words


@dataclass(frozen=True, eq=False)
class Rollout:
    """The M steps of a rollout that can be learned from: ids in the replay buffer, and columns [M]."""

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
        return Rollout(*(column[made] for column in columns))

    def minibatches(self, rollout: Rollout, count: int, *, seed: int, step: int) -> Iterator[PolicyBatch]:
        """One pass over a rollout in `count` parts of equal size (+-1), shuffled by (seed, step).

        Observations are gathered into memory that the next part overwrites.
        """
        order = _shuffled(len(rollout.ids), seed, step)
        parts = [part for part in np.array_split(order, count) if len(part)]
        if parts and len(self._obs) < len(parts[0]):
            self._obs = np.empty((len(parts[0]), *self._obs.shape[1:]), np.uint8)
        for part in parts:
            yield PolicyBatch(
                obs=self.replay.stacks(rollout.ids[part], self.stack_size, out=self._obs[: len(part)]),
                action=rollout.action[part],
                log_prob=rollout.log_prob[part],
                value=rollout.value[part],
                advantage=rollout.advantage[part],
                returns=rollout.returns[part],
            )

    def state_dict(self) -> dict[str, Any]:
        """The rollout under way, but for what the replay buffer holds."""
        return {"log_prob": self._log_prob[: self.filled], "value": self._value[: self.filled]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        log_prob = np.asarray(state["log_prob"])
        self.filled = len(log_prob)
        self._log_prob[: self.filled] = log_prob
        self._value[: self.filled] = np.asarray(state["value"])


def _shuffled(count: int, seed: int, step: int) -> NDArray[np.int64]:
    """A permutation of 0..count-1: the order of `count` random 64-bit numbers."""
    words = random_words(seed, Stream.MINIBATCH, step, count)
    return np.lexsort((words[:, 1], words[:, 0]))
