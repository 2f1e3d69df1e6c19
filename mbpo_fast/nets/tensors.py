"""Where arrays become tensors: a batch's columns are NumPy arrays, its frames may lie on a GPU already."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def on_device(array: NDArray[Any] | Tensor, device: torch.device | str) -> Tensor:
    """The array as a tensor on `device`, the same memory where it is there already.

    On its way to a GPU it passes through pinned memory, so that nobody waits for the copy.
    """
    tensor = array if isinstance(array, Tensor) else torch.from_numpy(array)
    if tensor.device.type == "cpu" and torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def on_host(array: NDArray[Any] | Tensor) -> NDArray[Any]:
    """The array in main memory."""
    if not isinstance(array, Tensor):
        return array
    copied: NDArray[Any] = array.cpu().numpy()
    return copied
