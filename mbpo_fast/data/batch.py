"""A batch of transitions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import DTypeLike

Array = npt.NDArray[Any]


@dataclass(slots=True, eq=False)
class Futures:
    """The K steps after each of R rows of a batch, the row's own action first.

    Attributes:
        action: int64 [K, R], the action of each step.
        stacks: uint8 [K, R, C, H, W], the stack after each step.
        alive: bool [K, R], whether the step is the row's own future: False behind the end of its episode and
            behind the newest transition, where the other two hold the transition of another row.

    """

    action: npt.NDArray[np.int64]
    stacks: npt.NDArray[np.uint8]
    alive: npt.NDArray[np.bool_]


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
        window: uint8 [B, C + 1, H, W] or None. With n_step 1 a row's two stacks overlap in C - 1 frames: here
            `obs` and `next_obs` are views of it, its first C frames and its last, and a third less is copied.
        futures: the steps after the first rows, the real ones, or None where nobody asked for them.

    """

    obs: npt.NDArray[np.uint8]
    next_obs: npt.NDArray[np.uint8]
    action: npt.NDArray[np.int64]
    reward: npt.NDArray[np.float32]
    discount: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    ids: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]
    window: npt.NDArray[np.uint8] | None = None
    futures: Futures | None = None

    @classmethod
    def empty(
        cls,
        batch: int,
        context: int = 4,
        frame_shape: tuple[int, int] = (84, 84),
        *,
        windows: bool = False,
        allocate: Callable[[tuple[int, ...], DTypeLike], Array] = np.empty,
    ) -> "Batch":
        """Room for `batch` transitions with stacks of `context` frames; the contents are undefined.

        With `windows` it takes rows of n_step 1 alone. `allocate` gives the memory, for example page-locked
        memory for copies to a GPU (`pinned_memory`).
        """
        if batch < 1 or context < 1:
            raise ValueError(f"[Batch.empty] expected batch and context >= 1, got {batch} and {context}")
        stack = (batch, context, *frame_shape)
        window = allocate((batch, context + 1, *frame_shape), np.uint8) if windows else None
        return cls(
            obs=allocate(stack, np.uint8) if window is None else window[:, :-1],
            next_obs=allocate(stack, np.uint8) if window is None else window[:, 1:],
            action=allocate((batch,), np.int64),
            reward=allocate((batch,), np.float32),
            discount=allocate((batch,), np.float32),
            terminated=allocate((batch,), np.bool_),
            ids=allocate((batch,), np.int64),
            weight=allocate((batch,), np.float32),
            window=window,
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
        window = None if self.window is None else self.window[rows]
        columns: dict[str, Any] = {name: array[rows] for name, array in self.arrays().items()}
        return Batch(**columns, window=window)


def pinned_memory(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Page-locked memory, which a GPU copies from while the caller goes on. RuntimeError without CUDA."""
    import torch

    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory: Array = torch.empty(nbytes, dtype=torch.uint8, pin_memory=True).numpy()
    return memory.view(dtype).reshape(shape)


def room_for(
    ids: npt.NDArray[np.int64],
    context: int,
    frame_shape: tuple[int, int],
    out: Batch | None,
    *,
    windows: bool = False,
) -> Batch:
    """`out` where it has a row for every id, a new batch, with `windows` or without, where it is None."""
    if out is None:
        return Batch.empty(len(ids), context, frame_shape, windows=windows)
    if out.ids.shape != ids.shape:
        raise ValueError(f"[gather] expected out with {len(ids)} rows, got {len(out)}")
    return out
