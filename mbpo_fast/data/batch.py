"""A batch of transitions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import DTypeLike

Array = npt.NDArray[Any]


@dataclass(slots=True, eq=False)
class Batch:
    """B transitions over k <= n steps, as NumPy arrays that an `out` argument fills again.

    Attributes:
        obs: uint8 [B, C, H, W], the stack that the action was chosen on.
        next_obs: uint8 [B, C, H, W], the stack k steps later: the true final one where the episode ended.
        action: int64 [B], the first action.
        reward: float32 [B], the sum of gamma**j times the reward of step j, for j < k.
        discount: float32 [B], the factor of the bootstrap value: gamma**k, and 0 where terminated.
        terminated: bool [B], whether step k ended the episode for real. A truncated step is not terminated.
        ids: int64 [B], the transitions' ids in the buffer that they came from.
        weight: float32 [B], the factor of the row's loss: 1 unless the draw was prioritised.

    """

    obs: npt.NDArray[np.uint8]
    next_obs: npt.NDArray[np.uint8]
    action: npt.NDArray[np.int64]
    reward: npt.NDArray[np.float32]
    discount: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    ids: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]

    @classmethod
    def empty(
        cls,
        batch: int,
        context: int = 4,
        frame_shape: tuple[int, int] = (84, 84),
        *,
        allocate: Callable[[tuple[int, ...], DTypeLike], Array] = np.empty,
    ) -> "Batch":
        """Room for `batch` transitions with stacks of `context` frames; the contents are undefined.

        `allocate` gives the memory, for example page-locked memory for copies to a GPU (`pinned_memory`).
        """
        if batch < 1 or context < 1:
            raise ValueError(f"[Batch.empty] expected batch and context >= 1, got {batch} and {context}")
        stack = (batch, context, *frame_shape)
        return cls(
            obs=allocate(stack, np.uint8),
            next_obs=allocate(stack, np.uint8),
            action=allocate((batch,), np.int64),
            reward=allocate((batch,), np.float32),
            discount=allocate((batch,), np.float32),
            terminated=allocate((batch,), np.bool_),
            ids=allocate((batch,), np.int64),
            weight=allocate((batch,), np.float32),
        )

    def arrays(self) -> dict[str, Array]:
        """The arrays by name, without copying."""
        return {
            "obs": self.obs,
            "next_obs": self.next_obs,
            "action": self.action,
            "reward": self.reward,
            "discount": self.discount,
            "terminated": self.terminated,
            "ids": self.ids,
            "weight": self.weight,
        }

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice) -> "Batch":
        """The rows of a slice as a Batch over the same memory."""
        return Batch(**{name: array[rows] for name, array in self.arrays().items()})


def pinned_memory(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Page-locked memory, which a GPU copies from while the caller goes on. RuntimeError without CUDA."""
    import torch

    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory: Array = torch.empty(nbytes, dtype=torch.uint8, pin_memory=True).numpy()
    return memory.view(dtype).reshape(shape)


def room_for(
    ids: npt.NDArray[np.int64], context: int, frame_shape: tuple[int, int], out: Batch | None
) -> Batch:
    """`out` where it has a row for every id, a new batch where it is None."""
    if out is None:
        return Batch.empty(len(ids), context, frame_shape)
    if out.ids.shape != ids.shape:
        raise ValueError(f"[gather] expected out with {len(ids)} rows, got {len(out)}")
    return out
