"""When a round of training ends, and the weights that it ends with."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mbpo_fast.models.ensemble import WorldModel


class EarlyStop:
    """Each member's best weights, and patience on the held-out scores, counted as in MBPO's code.

    A member gains when its score falls by more than 1 % below what it was at its last gain; after more than
    `patience` checks in a row in which nobody gains, it is enough.
    """

    GAIN = 0.01

    def __init__(self, model: WorldModel, patience: int) -> None:
        self.members = model.members
        self.patience = patience
        self.at_gain = np.full(len(self.members), np.inf)
        self.best = np.full(len(self.members), np.inf)
        self.weights: list[dict[str, Tensor]] = [{} for _ in self.members]
        self.without_gain = 0

    @property
    def exhausted(self) -> bool:
        """Whether nobody has gained for too long."""
        return self.without_gain > self.patience

    def check(self, scores: NDArray[np.float64] | None) -> None:
        """Keep the weights of every member that is better than it ever was in this round.

        None, nothing is held out yet: the newest weights are the best. NaN, a member has diverged: never.
        """
        if scores is None:
            self._keep(range(len(self.members)))
            return
        gained = scores < self.at_gain * (1.0 - self.GAIN)
        self.at_gain = np.where(gained, scores, self.at_gain)
        self.without_gain = 0 if gained.any() else self.without_gain + 1
        better = scores < self.best
        self.best = np.where(better, scores, self.best)
        self._keep(m for m, weights in enumerate(self.weights) if better[m] or not weights)

    def _keep(self, members: Iterable[int]) -> None:
        for m in members:
            self.weights[m] = {name: x.clone() for name, x in self.members[m].state_dict().items()}

    def restore_best(self) -> NDArray[np.float64]:
        """Put each member's best weights back; returns their scores f64 [E], infinite where there is none."""
        for member, weights in zip(self.members, self.weights, strict=True):
            member.load_state_dict(weights)
        return self.best
