"""What a world model's first layers read of its context: cells of pixels, and how their means moved."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbpo_fast import ops
from mbpo_fast.nets.nature import space_to_depth


def movements(context: Tensor, newest: int, cell: int, dtype: torch.dtype) -> Tensor:
    """The differences of the `newest` frames, then the newest frame: whole numbers of gray levels.

    u8 [B, C, h, w] -> `dtype` [B, newest * cell**2, h / cell, w / cell], channels last; float32 or bfloat16.
    """
    on_cpu = context.device.type == "cpu"
    return (_movements_by_core if on_cpu else _movements_by_torch)(context, newest, cell, dtype)


def cell_steps(context: Tensor, cell: int) -> Tensor:
    """How the mean gray level of each cell moved from frame to frame.

    u8 [B, C, h, w] -> f32 [B, C - 1, h / cell, w / cell], channels last.
    """
    return (
        _cell_steps_by_core(context, cell) if context.device.type == "cpu" else _cell_steps_by_torch(context)
    )


# torch.compile cannot see into the core: it is told so, instead of finding out.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def _movements_by_core(context: Tensor, newest: int, cell: int, dtype: torch.dtype) -> Tensor:
    batch, _, height, width = context.shape
    cells = torch.empty((batch, height // cell, width // cell, newest * cell**2), dtype=dtype)
    bits = cells.view(torch.uint16) if dtype == torch.bfloat16 else cells
    ops.movement_cells(_rows(context), newest, cell, bits.numpy())
    return cells.permute(0, 3, 1, 2)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _cell_steps_by_core(context: Tensor, cell: int) -> Tensor:
    batch, count, height, width = context.shape
    steps = torch.empty((batch, height // cell, width // cell, count - 1))
    ops.mean_steps(_rows(context), cell, steps.numpy())
    return steps.permute(0, 3, 1, 2)


def _rows(context: Tensor) -> NDArray[np.uint8]:
    """The same memory where every row is contiguous: contexts are views into windows of one frame more."""
    rows = context if context[:1].is_contiguous() else context.contiguous()
    return rows.numpy()


def _movements_by_torch(context: Tensor, newest: int, cell: int, dtype: torch.dtype) -> Tensor:
    if cell != 4:
        raise ValueError(f"[movements] expected cells of 4 pixels on a GPU, got {cell}")
    cells = space_to_depth(context[:, -newest:].contiguous()).to(dtype)
    area = cell**2
    return torch.cat([cells[:, area:] - cells[:, :-area], cells[:, -area:]], dim=1)


def _cell_steps_by_torch(context: Tensor) -> Tensor:
    batch, count, _, _ = context.shape
    cells = space_to_depth(context)
    means = cells.view(batch, count, -1, *cells.shape[2:]).to(torch.float32).mean(dim=2)
    return (means[:, 1:] - means[:, :-1]).contiguous(memory_format=torch.channels_last)
