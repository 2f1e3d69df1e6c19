"""The Nature CNN (Mnih et al. 2015, doi:10.1038/nature14236) and the Q-network on top of it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbpo_fast.nets.precision import autocast


def to_unit_float(obs: Tensor) -> Tensor:
    """uint8 screens to float in [0, 1]: the only place where a policy's input leaves uint8."""
    if obs.dtype != torch.uint8:
        raise ValueError(f"[to_unit_float] expected uint8 screens, got {obs.dtype}")
    return obs.to(torch.float32).mul_(1.0 / 255.0)


def space_to_depth(obs: Tensor) -> Tensor:
    """u8 [B, S, h, w] to [B, 16 S, h / 4, w / 4], channels last: a channel for each pixel of a 4x4 block.

    Channel 16 s + 4 y + x is pixel (y, x) of stack s. Four pixels of a row move as one number of 32 bits.
    """
    batch, stack, height, width = obs.shape
    words = obs.view(batch, stack, height // 4, 4, width).view(torch.int32)
    blocks = words.permute(0, 2, 4, 1, 3).contiguous().view(torch.uint8)
    return blocks.view(batch, height // 4, width // 4, 16 * stack).permute(0, 3, 1, 2)


class NatureEncoder(nn.Module):
    """Three convolutions: 32 of 8x8/4, 64 of 4x4/2, 64 of 3x3/1.

    Input u8 [B, S, h, w] with h, w >= 36; output f32 [B, out_features]. Where 4 divides h and w, the first
    convolution runs as one of 2x2/1 on 4x4 blocks: the same sums, over channels enough to fill a vector.
    """

    def __init__(self, stack_size: int, frame_shape: tuple[int, int]) -> None:
        super().__init__()
        if min(frame_shape) < 36:
            raise ValueError(f"[NatureEncoder] expected frames of at least 36x36, got {frame_shape}")
        self.convs = nn.Sequential(
            nn.Conv2d(stack_size, 32, 8, stride=4),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, 3, stride=1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
        )
        with torch.no_grad():
            self.out_features: int = self.convs(torch.zeros(1, stack_size, *frame_shape)).shape[1]

    def forward(self, obs: Tensor) -> Tensor:
        """Features of a batch of stacks."""
        features = self._first(obs)
        for layer in list(self.convs)[1:]:
            features = layer(features)
        return features

    def _first(self, obs: Tensor) -> Tensor:
        conv = self.convs[0]
        assert isinstance(conv, nn.Conv2d)
        if obs.dtype != torch.uint8 or obs.shape[2] % 4 or obs.shape[3] % 4:
            return conv(to_unit_float(obs))  # type: ignore[no-any-return]
        kind = obs.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        filters, stack = conv.weight.shape[:2]
        blocks = conv.weight.view(filters, stack, 2, 4, 2, 4).permute(0, 2, 4, 1, 3, 5)
        weight = blocks.reshape(filters, 2, 2, 16 * stack).permute(0, 3, 1, 2)
        # The weights carry the 1 / 255 of `to_unit_float`: 0 to 255 are exact even in bfloat16.
        return F.conv2d(space_to_depth(obs).to(dtype), weight * (1.0 / 255.0), conv.bias)


class QNetwork(nn.Module):
    """Action values f32 [B, A] of u8 stacks [B, S, h, w].

    `dueling` splits the head into a state value and centred advantages (Wang et al. 2016, eq. 9).
    `bf16` runs all but the last layer in bfloat16: values themselves need more than its 8 bits.
    """

    def __init__(
        self,
        stack_size: int,
        frame_shape: tuple[int, int],
        num_actions: int,
        *,
        hidden: int = 512,
        dueling: bool = True,
        bf16: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = NatureEncoder(stack_size, frame_shape)
        self.hidden = nn.ModuleList(nn.Linear(self.encoder.out_features, hidden) for _ in range(1 + dueling))
        self.advantage = nn.Linear(hidden, num_actions)
        self.value = nn.Linear(hidden, 1) if dueling else None
        self.bf16 = bf16

    def forward(self, obs: Tensor) -> Tensor:
        """Values of a batch of stacks."""
        with autocast(obs.device, self.bf16):
            features = self.encoder(obs)
            hidden = [torch.relu(layer(features)) for layer in self.hidden]
        advantage: Tensor = self.advantage(hidden[0].float())
        if self.value is None:
            return advantage
        centred = advantage - advantage.mean(dim=1, keepdim=True)
        q_values: Tensor = self.value(hidden[1].float()) + centred
        return q_values
