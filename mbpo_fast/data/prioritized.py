"""Prioritised experience replay (Schaul, Quan, Antonoglou and Silver 2016), the proportional form."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mbpo_fast import _core
from mbpo_fast.data import disk
from mbpo_fast.data.arguments import split_code
from mbpo_fast.data.batch import Batch
from mbpo_fast.data.replay_buffer import ReplayBuffer
from mbpo_fast.ops.random import Stream


class PrioritizedReplayBuffer(ReplayBuffer):
    """A `ReplayBuffer` that draws transition i with probability P(i) = p_i**alpha / sum of p_k**alpha.

    A new transition gets the largest priority so far, so that it is soon seen. Rows are drawn independently,
    not by strata. Only transitions that are valid for the call's n and context are drawn; P is taken over all
    stored ones, a constant that the normalisation of the weights removes.
    """

    def __init__(self, capacity: int, num_envs: int, *, alpha: float = 0.6, **settings: Any) -> None:
        """`alpha` >= 0: 0 draws uniformly. `settings` are those of `ReplayBuffer`."""
        if not 0.0 <= alpha <= 4.0:
            raise ValueError(f"[PrioritizedReplayBuffer] expected 0 <= alpha <= 4, got {alpha}")
        super().__init__(capacity, num_envs, **settings)
        self.alpha = alpha
        self._tree = _core.SumTree(num_envs * self.slots)
        self._largest = 1.0

    def add(
        self,
        frame: npt.ArrayLike,
        action: npt.ArrayLike,
        reward: npt.ArrayLike,
        terminated: npt.ArrayLike,
        truncated: npt.ArrayLike,
        first: npt.ArrayLike,
    ) -> None:
        """See `ReplayBuffer.add`; the transitions that the rows complete get the largest priority so far."""
        super().add(frame, action, reward, terminated, truncated, first)
        lanes = np.arange(self.num_envs)
        newest = (self.total - 1) % self.slots * self.num_envs + lanes
        before = (self.total - 2) % self.slots * self.num_envs + lanes
        completed = np.where(np.asarray(first), 0.0, self._largest)
        # What was stored in the newest place before is gone, and no transition starts there yet.
        self._tree.set(
            np.concatenate([before, newest]), np.concatenate([completed, 0.0 * completed]).astype(np.float32)
        )

    def _draw(self, batch: int, n_step: int, context: int, split: str, stream: int) -> npt.NDArray[np.int64]:
        code = split_code(split)
        return self._ring.sample_ids(batch, n_step, context, self.seed, stream, self.draws, code, self._tree)

    def sample(
        self,
        batch: int,
        n_step: int = 1,
        *,
        gamma: float = 0.99,
        context: int = 4,
        split: str = "all",
        out: Batch | None = None,
        beta: float = 0.4,
    ) -> Batch:
        """A batch drawn by priority; its `weight` is (K P(i))**-beta over the batch's largest (section 3.4).

        K is the number of stored transitions; `beta` in [0, 1] corrects for the uneven draw, in full at 1.
        """
        if not 0.0 <= beta <= 1.0:
            raise ValueError(f"[PrioritizedReplayBuffer.sample] expected 0 <= beta <= 1, got {beta}")
        ids = self._draw(batch, n_step, context, split, Stream.REPLAY)
        drawn = self.gather(ids, n_step, gamma=gamma, context=context, out=out)
        share = self._tree.get(self._places(ids)).astype(np.float64) / self._tree.total
        weight = (len(self) * share) ** -beta
        drawn.weight[:] = weight / weight.max()
        self.draws += 1
        return drawn

    def update_priorities(self, ids: npt.NDArray[np.int64], priority: npt.ArrayLike) -> None:
        """Sets p of each id, int64 [B], to `priority` > 0, numbers [B]: the last one where an id comes twice.

        Ids that have been overwritten since the draw are passed over. ValueError where a priority is not
        positive and finite; nothing is changed.
        """
        values = np.asarray(priority, np.float64)
        if values.shape != ids.shape or not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError(
                "[PrioritizedReplayBuffer.update_priorities] expected a positive finite priority for each id"
            )
        raised = values**self.alpha
        places = self._places(ids)
        stored = places >= 0
        self._tree.set(places[stored], raised[stored].astype(np.float32))
        if stored.any():
            self._largest = max(self._largest, float(raised[stored].max()))

    def priorities(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """p**alpha of each stored id: float32 [B]."""
        return self._tree.get(self._places(ids))

    def _places(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        places = np.empty_like(ids)
        self._ring.places(ids, places)
        return places

    def extra(self) -> dict[str, npt.NDArray[Any]]:
        """What changes in place, and so is in no segment: the priorities and the largest of them so far."""
        everywhere = np.arange(self._tree.size)
        return {"priorities": self._tree.get(everywhere), "largest": np.array([self._largest])}

    def restore_extra(self, extra: Mapping[str, npt.NDArray[Any]]) -> None:
        """Takes over what `extra` gave in a buffer of the same layout."""
        self._tree.set(np.arange(self._tree.size), np.ascontiguousarray(extra["priorities"]))
        self._largest = float(extra["largest"][0])

    def restore(
        self, state: Mapping[str, int], segments: Iterable[tuple[int, dict[str, npt.NDArray[Any]]]]
    ) -> None:
        """See `ReplayBuffer.restore`; until `restore_extra`, every transition has the largest priority."""
        super().restore(state, segments)
        values = np.zeros(self._tree.size, np.float32)
        if len(self):
            values[self._places(self.valid_ids(context=1))] = self._largest
        self._tree.set(np.arange(self._tree.size), values)

    def save(self, path: str | Path) -> None:
        """Writes the buffer with its priorities into the new folder `path`."""
        disk.save(path, self.state(), self._segments(), self.extra())

    def load(self, path: str | Path) -> None:
        """Becomes the buffer that was saved in the folder `path`, priorities and all."""
        extra = disk.load_extra(path)
        super().load(path)
        self.restore_extra(extra)
