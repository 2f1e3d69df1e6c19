"""What a member of the world model minimises."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mbpo_fast.nets import Prediction

CHANGED_LEVELS = 4
"""A changed pixel is one that differs by more than this many gray levels."""
TYPICAL_CHANGE = 0.15
"""Size of a pixel's change in units of 255 levels where it is not measured."""
VALUE_WEIGHT = 0.6
"""An error of one typical change costs this much, where a mask that says "even" costs log 2."""
FRAME_LOSS_SCALE = 0.01
"""Summed over a frame the pixel loss is some hundred times the outcome loss; this brings them together."""


def changed_pixels(newest: Tensor, next_frame: Tensor) -> tuple[Tensor, Tensor]:
    """The change f32 [B, h, w] in units of 255 levels, and 1.0 where it is more than `CHANGED_LEVELS`."""
    change = (next_frame.to(torch.float32) - newest.to(torch.float32)).mul_(1.0 / 255.0)
    return change, (change.abs() > CHANGED_LEVELS / 255.0).float()


def typical_change(newest: Tensor, next_frame: Tensor) -> float:
    """Root mean square of the changes of changed pixels; `TYPICAL_CHANGE` where none changes."""
    change, changed = changed_pixels(newest, next_frame)
    if not changed.any():
        return TYPICAL_CHANGE
    return float(((change.square() * changed).sum() / changed.sum()).sqrt())


def frame_loss(
    prediction: Prediction, newest: Tensor, next_frame: Tensor, scale: float = TYPICAL_CHANGE
) -> Tensor:
    """Loss, 0-d, summed over pixels and averaged over rows; averaged over pixels it learns nothing.

    Changes are measured in units of `scale`.

    With a mask: cross-entropy of "changes" plus the absolute error of the change where there is one.
    Without: the squared error of the change.
    """
    change, changed = changed_pixels(newest, next_frame)
    error = (prediction.delta - change) / scale
    if prediction.mask_logit is None:
        return error.square().sum() / len(change)
    mask = F.binary_cross_entropy_with_logits(prediction.mask_logit, changed, reduction="sum")
    value = (error.abs() * changed).sum()
    return (mask + VALUE_WEIGHT * value) / len(change)


def total_loss(losses: Mapping[str, Tensor]) -> Tensor:
    """Training objective and held-out score of a member, 0-d: lower is better."""
    return FRAME_LOSS_SCALE * losses["frame"] + losses["reward"] + losses["end"]
