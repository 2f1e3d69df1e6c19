"""The Nature CNN (Mnih et al. 2015, doi:10.1038/nature14236)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def to_unit_float(obs: Tensor) -> Tensor:
    """uint8 screens to float in [0, 1]."""
    if obs.dtype != torch.uint8:
        raise ValueError(f"[to_unit_float] expected uint8 screens, got {obs.dtype}")
    # Channels last, as the convolutions want it: here the bytes are copied anyway.
    return obs.to(torch.float32, memory_format=torch.channels_last).mul_(1.0 / 255.0)


def scaled(channels: int, width: float) -> int:
    """Channels times a width multiplier, one at least."""
    return max(1, round(channels * width))


def space_to_depth(obs: Tensor) -> Tensor:
    """u8 [B, S, h, w] to [B, 16 S, h / 4, w / 4], channels last: a channel for each pixel of a 4x4 block.

    Channel 16 s + 4 y + x is pixel (y, x) of stack s. Four pixels of a row move as one number of 32 bits.
    """
    if obs.dtype != torch.uint8:
        raise ValueError(f"[space_to_depth] expected uint8 screens, got {obs.dtype}")
    batch, stack, height, width = obs.shape
    words = obs.view(batch, stack, height // 4, 4, width).view(torch.int32)
    blocks = words.permute(0, 2, 4, 1, 3).contiguous().view(torch.uint8)
    return blocks.view(batch, height // 4, width // 4, 16 * stack).permute(0, 3, 1, 2)


class NatureEncoder(nn.Module):
    """Three convolutions: 32 of 8x8/4, 64 of 4x4/2, 64 of 3x3/1, their numbers times `width`.

    Input u8 [B, S, h, w] with h, w >= 36; output f32 [B, out_features], the last
    maps `latent_shape` in a row. Where 4 divides h and w, the first
    convolution runs as one of 2x2/1 on 4x4 blocks: the same sums, over channels enough to fill a vector.
    """

    def __init__(self, stack_size: int, frame_shape: tuple[int, int], *, width: float = 1.0) -> None:
        super().__init__()
        if min(frame_shape) < 36:
            raise ValueError(f"[NatureEncoder] expected frames of at least 36x36, got {frame_shape}")
        first, second, third = (scaled(channels, width) for channels in (32, 64, 64))
        self.convs = nn.Sequential(
            nn.Conv2d(stack_size, first, 8, stride=4),
            nn.ReLU(inplace=True),
            nn.Conv2d(first, second, 4, stride=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(second, third, 3, stride=1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
        )
        with torch.no_grad():
            maps = self.convs[:-1](torch.zeros(1, stack_size, *frame_shape))
        self.latent_shape: tuple[int, int, int] = tuple(maps.shape[1:])
        self.out_features = math.prod(self.latent_shape)

    def forward(self, obs: Tensor) -> Tensor:
        """Features of a batch of stacks."""
        return self.features(self.prepare(obs))

    def prepare(self, obs: Tensor) -> Tensor:
        """What `features` takes, for two networks that see the same stacks: 4x4 blocks u8, or unit floats."""
        blocks = obs.shape[2] % 4 == 0 and obs.shape[3] % 4 == 0
        return space_to_depth(obs) if blocks else to_unit_float(obs)

    def features(self, prepared: Tensor) -> Tensor:
        """Features of stacks that `prepare` has seen."""
        features = self._first(prepared)
        for layer in list(self.convs)[1:]:
            features = layer(features)
        return features

    def _first(self, prepared: Tensor) -> Tensor:
        conv = self.convs[0]
        assert isinstance(conv, nn.Conv2d)
        if prepared.dtype != torch.uint8:
            return conv(prepared)  # type: ignore[no-any-return]
        kind = prepared.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        filters, stack = conv.weight.shape[:2]
        blocks = conv.weight.view(filters, stack, 2, 4, 2, 4).permute(0, 2, 4, 1, 3, 5)
        weight = blocks.reshape(filters, 2, 2, 16 * stack).permute(0, 3, 1, 2)
        # The weights carry the 1 / 255 of `to_unit_float`: 0 to 255 are exact even in bfloat16.
        return F.conv2d(prepared.to(dtype), weight * (1.0 / 255.0), conv.bias)
