"""Image augmentation on uint8 stacks."""

import torch
from torch import Tensor

from mbpo_fast.ops import shift_frames


def random_shift(obs: Tensor, down: Tensor, right: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Shift each stack of obs u8 [B, S, h, w] by (down, right) i64 [B] pixels, edges repeated.

    DrQ's random shift (Kostrikov et al. 2021, section 3.1): one offset a stack, so that motion stays true.
    `out`, on a CPU: contiguous memory to write to. Fresh memory of this size costs several times the shift.
    """
    if obs.device.type != "cpu":
        return shifted_by_index(obs, down, right)
    shifted = torch.empty_like(obs, memory_format=torch.contiguous_format) if out is None else out
    shift_frames(obs.contiguous().numpy(), down.numpy(), right.numpy(), shifted.numpy())
    return shifted


def shifted_by_index(obs: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """`random_shift` by torch, on any device."""
    batch, stack, height, width = obs.shape
    rows = (torch.arange(height, device=obs.device) - down[:, None]).clamp_(0, height - 1)
    columns = (torch.arange(width, device=obs.device) - right[:, None]).clamp_(0, width - 1)
    # Down by whole rows, which are copied as blocks; only to the right pixel by pixel.
    first = torch.arange(batch * stack, device=obs.device).view(batch, stack, 1) * height
    shifted = obs.reshape(-1, width).index_select(0, (first + rows[:, None]).view(-1)).view(obs.shape)
    return shifted.gather(3, columns[:, None, None, :].expand_as(obs))
