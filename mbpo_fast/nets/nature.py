"""The Nature CNN (Mnih et al. 2015, doi:10.1038/nature14236) and the Q-network on top of it."""

import torch
from torch import Tensor, nn

from mbpo_fast.nets.precision import autocast


def to_unit_float(obs: Tensor) -> Tensor:
    """uint8 screens to float in [0, 1]: the only place where a policy's input leaves uint8."""
    if obs.dtype != torch.uint8:
        raise ValueError(f"[to_unit_float] expected uint8 screens, got {obs.dtype}")
    return obs.to(torch.float32).mul_(1.0 / 255.0)


class NatureEncoder(nn.Module):
    """Three convolutions: 32 of 8x8/4, 64 of 4x4/2, 64 of 3x3/1.

    Input u8 [B, S, h, w] with h, w >= 36; output f32 [B, out_features].
    """

    def __init__(self, stack_size: int, frame_shape: tuple[int, int]) -> None:
        super().__init__()
        if min(frame_shape) < 36:
            raise ValueError(f"[NatureEncoder] expected frames of at least 36x36, got {frame_shape}")
        self.convs = nn.Sequential(
            nn.Conv2d(stack_size, 32, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        with torch.no_grad():
            self.out_features: int = self.convs(torch.zeros(1, stack_size, *frame_shape)).shape[1]

    def forward(self, obs: Tensor) -> Tensor:
        """Features of a batch of stacks."""
        features: Tensor = self.convs(to_unit_float(obs))
        return features


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
