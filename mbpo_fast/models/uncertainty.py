"""How much the elites disagree about a step, and what a rollout makes of it."""

import torch
from pydantic import Field
from torch import Tensor

from mbpo_fast.models.losses import CHANGED_LEVELS
from mbpo_fast.settings import Settings


class UncertaintyConfig(Settings):
    """What the elites' disagreement does to imagined rows."""

    measure: bool = Field(
        False, description="run all elites on every imagined row and log their disagreement"
    )
    mask_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the rows of each imagined step, the most doubtful, that is not written",
    )
    bonus: float = Field(
        0.0, ge=0, description="exploration bonus: this times the disagreement is added to imagined rewards"
    )

    @property
    def enabled(self) -> bool:
        """Whether anything needs the disagreement."""
        return self.measure or self.mask_share > 0 or self.bonus > 0


def disagreement(newest: Tensor, frames: Tensor, reward_probs: Tensor) -> Tensor:
    """Disagreement of E members about B steps, f32 [B], not negative; 0 where all say the same.

    newest u8 [B, h, w]; frames u8 [E, B, h, w]; reward_probs f32 [E, B, 3]. The sum of two standard
    deviations over members: of the pixels that any member changes, their mean in units of 255 levels, and of
    the probability that there is a reward.
    """
    highest, lowest = (frame.to(torch.int16) for frame in (frames.amax(dim=0), frames.amin(dim=0)))
    moved = torch.maximum(highest - newest, newest - lowest) > CHANGED_LEVELS
    # In whole numbers: exact, and a seventh of the time of torch's deviation over a first axis.
    levels = frames.to(torch.int32)
    total, squares = (x.sum(dim=0, dtype=torch.int32) for x in (levels, levels.square()))
    spread = (len(frames) * squares - total.square()).sqrt() / len(frames) * moved
    pixels = spread.sum(dim=(1, 2)) / moved.sum(dim=(1, 2)).clamp(min=1) / 255.0
    return pixels + (1.0 - reward_probs[:, :, 1]).std(dim=0, correction=0)
