"""A batch of transitions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mbpo_fast.ops.gpu_device import Device

Array = npt.NDArray[Any]
Frames = Any
"""uint8 frames: a NumPy array, or the memory of the device on which a buffer keeps them (a torch tensor)."""


def empty_frames(device: Device | None, shape: tuple[int, ...]) -> Frames:
    """Room for uint8 frames, on the device or in main memory."""
    return np.empty(shape, np.uint8) if device is None else device.empty(shape, np.uint8)


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
    stacks: Frames
    alive: npt.NDArray[np.bool_]


@dataclass(slots=True, eq=False)
class Batch:
    """B transitions over k <= n steps, as NumPy arrays that an `out` argument fills again.

    Of a buffer that keeps its frames on a device, the frames of a batch lie there too.

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

    obs: Frames
    next_obs: Frames
    action: npt.NDArray[np.int64]
    reward: npt.NDArray[np.float32]
    discount: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    ids: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]
    window: Frames | None = None
    futures: Futures | None = None

    @classmethod
    def empty(
        cls,
        batch: int,
        context: int = 4,
        frame_shape: tuple[int, int] = (84, 84),
        *,
        windows: bool = False,
        device: Device | None = None,
    ) -> "Batch":
        """Room for `batch` transitions with stacks of `context` frames; the contents are undefined.

        With `windows` it takes rows of n_step 1 alone. Frames lie on the `device` if given.
        """
        if batch < 1 or context < 1:
            raise ValueError(f"[Batch.empty] expected batch and context >= 1, got {batch} and {context}")
        stack = (batch, context, *frame_shape)
        room = np.empty if device is None else device.empty
        window = room((batch, context + 1, *frame_shape), np.uint8) if windows else None
        return cls(
            obs=room(stack, np.uint8) if window is None else window[:, :-1],
            next_obs=room(stack, np.uint8) if window is None else window[:, 1:],
            action=np.empty((batch,), np.int64),
            reward=np.empty((batch,), np.float32),
            discount=np.empty((batch,), np.float32),
            terminated=np.empty((batch,), np.bool_),
            ids=np.empty((batch,), np.int64),
            weight=np.empty((batch,), np.float32),
            window=window,
        )

    def arrays(self) -> dict[str, Any]:
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


def room_for(
    ids: npt.NDArray[np.int64],
    context: int,
    frame_shape: tuple[int, int],
    out: Batch | None,
    *,
    windows: bool = False,
    device: Device | None = None,
) -> Batch:
    """`out` where it has a row for every id, a new batch, with `windows` or without, where it is None."""
    if out is None:
        return Batch.empty(len(ids), context, frame_shape, windows=windows, device=device)
    if out.ids.shape != ids.shape:
        raise ValueError(f"[gather] expected out with {len(ids)} rows, got {len(out)}")
    return out
