"""Gates of the training loop, as functions of the agent steps before and after an iteration.

They hold no state: a resumed run asks the same questions and gets the same answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Every:
    """True when an iteration from `before` to `after` steps passes a multiple of `period`; 0 never does."""

    period: int

    def __call__(self, before: int, after: int) -> bool:
        """Whether it is due now."""
        return self.period > 0 and after // self.period > before // self.period


@dataclass(frozen=True)
class Ratio:
    """How many updates are due for an iteration, at `per_step` updates a step counted from `start`."""

    per_step: float
    start: int = 0

    def __call__(self, before: int, after: int) -> int:
        """How many are due now."""
        return self._total(after) - self._total(before)

    def _total(self, step: int) -> int:
        return int(max(0, step - self.start) * self.per_step)


def rollout_length(steps: int, length: int, schedule: Sequence[int] | None, epoch_length: int) -> int:
    """Imagined steps of a branch now: `length`, or the linear schedule of Janner et al. 2019, appendix C.

    `steps`: agent steps after those of random actions. `schedule` is [first epoch, last epoch, first length,
    last length]; as in the authors' code epochs are whole, the length rises linearly between them and is cut
    to an integer.
    """
    if schedule is None:
        return length
    first, last, short, long = schedule
    epoch = max(0, steps) // epoch_length
    if epoch <= first:
        return short
    if epoch >= last:
        return long
    return int(short + (epoch - first) / (last - first) * (long - short))


def longest_rollout(length: int, schedule: Sequence[int] | None) -> int:
    """The longest branch that `rollout_length` will ever ask for."""
    return length if schedule is None else schedule[3]


def shortest_rollout(length: int, schedule: Sequence[int] | None) -> int:
    """The shortest branch that `rollout_length` will ever ask for."""
    return length if schedule is None else schedule[2]
