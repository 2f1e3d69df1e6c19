"""The Nature CNN (Mnih et al. 2015, doi:10.1038/nature14236)."""

import torch
from torch import Tensor, nn


def to_unit_float(obs: Tensor) -> Tensor:
    """uint8 screens to float in [0, 1]: the only place where a policy's input leaves uint8."""
    if obs.dtype != torch.uint8:
        raise ValueError(f"[to_unit_float] expected uint8 screens, got {obs.dtype}")
    # Channels last, as the convolutions want it: here the bytes are copied anyway.
    return obs.to(torch.float32, memory_format=torch.channels_last).mul_(1.0 / 255.0)


def scaled(channels: int, width: float) -> int:
    """Channels times a width multiplier, one at least."""
    return max(1, round(channels * width))


class NatureEncoder(nn.Module):
    """Three convolutions: 32 of 8x8/4, 64 of 4x4/2, 64 of 3x3/1, their numbers times `width`.

    Input u8 [B, S, h, w] with h, w >= 36; output f32 [B, out_features].
    """

    def __init__(self, stack_size: int, frame_shape: tuple[int, int], *, width: float = 1.0) -> None:
        super().__init__()
        if min(frame_shape) < 36:
            raise ValueError(f"[NatureEncoder] expected frames of at least 36x36, got {frame_shape}")
        first, second, third = (scaled(channels, width) for channels in (32, 64, 64))
        self.convs = nn.Sequential(
            nn.Conv2d(stack_size, first, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(first, second, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, stride=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        with torch.no_grad():
            self.out_features: int = self.convs(torch.zeros(1, stack_size, *frame_shape)).shape[1]

    def forward(self, obs: Tensor) -> Tensor:
        """Features of a batch of stacks."""
        return self.features(to_unit_float(obs))

    def features(self, unit: Tensor) -> Tensor:
        """Features of `to_unit_float(obs)`, for two networks that share it."""
        features: Tensor = self.convs(unit)
        return features
