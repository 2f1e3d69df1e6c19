"""The rows that lanes write and a vector environment reads: plain memory, or memory shared with workers."""

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

_ALIGN = 64
_ROW_TYPES: dict[str, type[np.generic]] = {
    "action": np.int64,
    "rests": np.bool_,
    "reward": np.float32,
    "terminated": np.bool_,
    "truncated": np.bool_,
    "reset": np.bool_,
    "raw_reward": np.float32,
    "lives": np.int64,
    "game_over": np.bool_,
    "game_score": np.float32,
    "game_length": np.int64,
}
_INFO_NAMES = ("reset", "raw_reward", "lives", "game_over", "game_score", "game_length")


class Slots:
    """One row a lane: its stack u8 [S, h, w], the episode's last stack, the action in, the outcome out.

    `memory` must hold `Slots.nbytes(...)` zero bytes; None: the slots own their memory. Arrays are views that
    change with every step: whatever leaves the environment is copied first.
    """

    def __init__(self, num_envs: int, stack_shape: tuple[int, int, int], memory: mmap.mmap | None = None):
        buffer = memory or bytearray(self.nbytes(num_envs, stack_shape))
        self._offset = 0

        def carve(dtype: type[np.generic], *shape: int) -> npt.NDArray[Any]:
            array: npt.NDArray[Any] = np.ndarray((num_envs, *shape), dtype, buffer, self._offset)
            self._offset += _aligned(array.nbytes)
            return array

        self.stacks = carve(np.uint8, *stack_shape)
        self.final_stacks = carve(np.uint8, *stack_shape)
        self._rows = {name: carve(dtype) for name, dtype in _ROW_TYPES.items()}
        self.action = self._rows["action"]
        self.rests = self._rows["rests"]
        self.reward = self._rows["reward"]
        self.terminated = self._rows["terminated"]
        self.truncated = self._rows["truncated"]
        self.reset = self._rows["reset"]
        self.raw_reward = self._rows["raw_reward"]
        self.lives = self._rows["lives"]
        self.game_over = self._rows["game_over"]
        self.game_score = self._rows["game_score"]
        self.game_length = self._rows["game_length"]

    @staticmethod
    def nbytes(num_envs: int, stack_shape: tuple[int, int, int]) -> int:
        """Bytes that so many lanes need."""
        stacks = 2 * _aligned(num_envs * int(np.prod(stack_shape)))
        return stacks + sum(_aligned(num_envs * np.dtype(dtype).itemsize) for dtype in _ROW_TYPES.values())

    def infos(self) -> dict[str, npt.NDArray[Any]]:
        """A copy of every info column, each [N]."""
        return {name: self._rows[name].copy() for name in _INFO_NAMES}


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _ALIGN) * _ALIGN
