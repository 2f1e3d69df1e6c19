"""What learners from replayed batches share: augmentation and target networks."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbpo_fast.nets.augment import random_shift
from mbpo_fast.nets.tensors import on_device
from mbpo_fast.ops import Stream, random_integers


def augmented_stacks(
    stacks: Sequence[NDArray[np.uint8] | Tensor], pad: int, *, seed: int, step: int, device: torch.device
) -> list[Tensor]:
    """Lots of stacks u8 [B, S, h, w], wherever they lie, on `device`.

    Each stack is shifted by up to `pad` pixels (0: not).
    The offsets are pure functions of (seed, step) and the row, counted through all lots.
    """
    moved = [on_device(lot, device) for lot in stacks]
    if pad == 0:
        return moved
    sizes = [len(lot) for lot in stacks]
    draws = (
        random_integers(seed, Stream.AUGMENT, step, sum(sizes), 2 * pad + 1, word=word) - pad
        for word in (0, 2)
    )
    down, right = (torch.split(on_device(draw, device), sizes) for draw in draws)
    return [random_shift(*lot) for lot in zip(moved, down, right, strict=True)]


@torch.no_grad()
def move_target(target: Iterable[Tensor], online: Iterable[Tensor], share: float) -> None:
    """Move target parameters towards the online ones by `share` of the way; 1 copies."""
    torch._foreach_lerp_(list(target), list(online), share)
