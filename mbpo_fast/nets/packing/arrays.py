"""Weights of torch modules as arrays in the layouts of a layer list."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbpo_fast.ops.network_builder import Film

Floats = NDArray[np.float32]


def array_of(tensor: Tensor) -> Floats:
    """A weight in main memory; ValueError where it is not float32."""
    if tensor.dtype != torch.float32:
        raise ValueError(f"[rollout] expected float32 weights, got {tensor.dtype}")
    return tensor.detach().cpu().contiguous().numpy()


def weights_of(layer: Any) -> tuple[Floats, Floats]:
    """Weight and bias of a layer."""
    return array_of(layer.weight), array_of(layer.bias)


def over_cells(weight: Floats, cell: int) -> Floats:
    """A convolution over pixels, its kernel k and stride multiples of `cell`, as one over cells of pixels.

    [O, F, k, k] to [O, F * cell**2, k / cell, k / cell]: a channel for each pixel of the cell in each frame.
    """
    out, frames, kernel, _ = weight.shape
    taps = kernel // cell
    split = weight.reshape(out, frames, taps, cell, taps, cell).transpose(0, 1, 3, 5, 2, 4)
    return split.reshape(out, frames * cell * cell, taps, taps)


def shift_by_action(by_action: Floats) -> Film:
    """A table [A, channels] that is only added."""
    return Film(np.zeros_like(by_action), np.ascontiguousarray(by_action))
