"""What a world model's first layers read of a batch of contexts.

Contexts may be views into longer rows: only a row has to be contiguous.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mbpo_fast import _core


def movement_cells(context: npt.NDArray[np.uint8], newest: int, cell: int, out: npt.NDArray[Any]) -> None:
    """The differences of neighbouring frames, then the newest frame, cut into cells of `cell` pixels a side.

    context u8 [B, C, h, w]; of its `newest` frames out [B, h / cell, w / cell, newest * cell**2], in gray
    levels: channel f * cell**2 + i is pixel i of the cell in difference f, the last `cell**2` are the newest
    frame. `out` is float32, or uint16 for the bits of bfloat16, which holds these whole numbers exactly.
    ValueError where `cell` does not divide the sides or an array does not fit.
    """
    as_bfloat16 = isinstance(out, np.ndarray) and out.dtype == np.uint16
    (_core.movement_cells_bfloat16 if as_bfloat16 else _core.movement_cells)(context, newest, cell, out)


def mean_steps(context: npt.NDArray[np.uint8], cell: int, out: npt.NDArray[np.float32]) -> None:
    """The steps of the cells' mean gray levels from frame to frame.

    context u8 [B, C, h, w], out f32 [B, h / cell, w / cell, C - 1]. ValueError as `movement_cells`.
    """
    _core.mean_steps(context, cell, out)
