"""The residual encoder of IMPALA (Espeholt et al. 2018, figure 3, the large network), without the LSTM."""

import math

import torch
from torch import Tensor, nn

from mbpo_fast.nets.nature import scaled, to_unit_float


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(relu(x)))), both 3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x [B, C, h, w]."""
        changed: Tensor = self.second(torch.relu(self.first(torch.relu(x))))
        return x + changed


class ImpalaEncoder(nn.Module):
    """Three sections of 16, 32 and 32 channels times `width`: convolution, maximum over 3x3/2, two blocks.

    Input u8 [B, S, h, w] with h, w >= 8; output f32 [B, out_features].
    """

    def __init__(self, stack_size: int, frame_shape: tuple[int, int], *, width: float = 1.0) -> None:
        super().__init__()
        if min(frame_shape) < 8:
            raise ValueError(f"[ImpalaEncoder] expected frames of at least 8x8, got {frame_shape}")
        layers: list[nn.Module] = []
        before = stack_size
        for channels in (scaled(c, width) for c in (16, 32, 32)):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.MaxPool2d(3, stride=2, padding=1)]
            layers += [ResidualBlock(channels), ResidualBlock(channels)]
            before = channels
        self.convs = nn.Sequential(*layers, nn.ReLU(), nn.Flatten())
        with torch.no_grad():
            maps = self.convs[:-1](torch.zeros(1, stack_size, *frame_shape))
        self.latent_shape: tuple[int, int, int] = tuple(maps.shape[1:])
        self.out_features = math.prod(self.latent_shape)

    def forward(self, obs: Tensor) -> Tensor:
        """Features of a batch of stacks."""
        return self.features(self.prepare(obs))

    def prepare(self, obs: Tensor) -> Tensor:
        """What `features` takes, for two networks that see the same stacks."""
        return to_unit_float(obs)

    def features(self, prepared: Tensor) -> Tensor:
        """Features of stacks that `prepare` has seen."""
        features: Tensor = self.convs(prepared)
        return features
