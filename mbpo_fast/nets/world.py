"""World-model networks: E members that predict the change of the newest frame, the reward class and the end.

Both architectures share one signature: `context` u8 [M, B, C, h, w] (the C newest frames, oldest first) and
`action` i64 [M, B] go in; a `FramePrediction` and outcome logits come out. `members` picks M of the E members.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbpo_fast.nets.ensemble import (
    ALL,
    EnsembleConv2d,
    EnsembleConvTranspose2d,
    EnsembleFiLM,
    EnsembleGroupNorm,
    EnsembleLinear,
)

NUM_REWARD_CLASSES = 3
"""Rewards are predicted as sign(r) + 1: 0 negative, 1 none, 2 positive."""


@dataclass(frozen=True)
class FramePrediction:
    """What a member says of the next frame, in units of 1/255 gray levels.

    `delta` f32 [M, B, h, w]: the change where the pixel changes.
    `mask_logit` f32 [M, B, h, w] or None: log odds that a pixel changes at all; None means "always".
    """

    delta: Tensor
    mask_logit: Tensor | None

    def next_frame(self, newest: Tensor) -> Tensor:
        """u8 [M, B, h, w]: the newest frame with the predicted change applied, clipped and rounded."""
        delta = self.delta if self.mask_logit is None else self.delta * (self.mask_logit > 0)
        return newest.to(torch.float32).add(delta, alpha=255.0).round_().clamp_(0, 255).to(torch.uint8)


class WorldNet(nn.Module, ABC):
    """E world models with one call signature; see the module's docstring."""

    @abstractmethod
    def frame(self, context: Tensor, action: Tensor, members: slice = ALL) -> FramePrediction:
        """The predicted change of the newest frame."""

    @abstractmethod
    def outcome(self, context: Tensor, action: Tensor, members: slice = ALL) -> tuple[Tensor, Tensor]:
        """Logits of the reward classes f32 [M, B, 3] and of the end f32 [M, B]."""


def pack_members(x: Tensor) -> Tensor:
    """[M, B, c, h, w] -> [B, M*c, h, w], the layout of grouped convolutions."""
    return x.transpose(0, 1).flatten(1, 2)


def unpack_members(x: Tensor, members: int) -> Tensor:
    """[B, M*c, h, w] -> [M, B, c, h, w]."""
    return x.unflatten(1, (members, -1)).transpose(0, 1)


def _unit(context: Tensor) -> Tensor:
    return pack_members(context).to(torch.float32).mul_(1.0 / 255.0)


class GridWorldNet(WorldNet):
    """Residual 3x3 convolutions on the grid that space-to-depth by 4 makes of the screen (21x21 for 84x84).

    The frame head gives a change mask and a value for the changed pixels, so that still pixels, about 99 % of
    a screen, cost nothing and blur nothing. Reward and end come from a small net of their own: on a shared
    trunk they drown in the pixels' gradient.
    """

    GRID = 4
    CHANGED_PRIOR = 0.013
    OUTCOME_FRAMES = 4

    def __init__(
        self,
        members: int,
        context: int,
        frame_shape: tuple[int, int],
        num_actions: int,
        *,
        width: int = 32,
        depth: int = 2,
        outcome_width: int = 16,
    ) -> None:
        super().__init__()
        if any(side % self.GRID for side in frame_shape):
            raise ValueError(f"[GridWorldNet] expected frame sides divisible by 4, got {frame_shape}")
        cells = self.GRID * self.GRID
        self.stem = EnsembleConv2d(members, context * cells, width, 1)
        self.blocks = nn.ModuleList(_ResidualBlock(members, width, num_actions) for _ in range(depth))
        self.head = EnsembleConv2d(members, width, 2 * cells, 1)
        self.outcome_net = _OutcomeNet(members, self.OUTCOME_FRAMES * cells, num_actions, outcome_width)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.bias[:, :cells] = math.log(self.CHANGED_PRIOR / (1 - self.CHANGED_PRIOR))
            self.head.bias[:, cells:] = 0.0

    def frame(self, context: Tensor, action: Tensor, members: slice = ALL) -> FramePrediction:
        x = self.stem(self._cells(context), members)
        for block in self.blocks:
            x = block(x, action, members)
        out = unpack_members(self.head(F.relu(x), members), context.shape[0])
        pixels = F.pixel_shuffle(out, self.GRID)
        return FramePrediction(delta=pixels[:, :, 1], mask_logit=pixels[:, :, 0])

    def outcome(self, context: Tensor, action: Tensor, members: slice = ALL) -> tuple[Tensor, Tensor]:
        newest = context[:, :, -self.OUTCOME_FRAMES :]
        logits: Tensor = self.outcome_net(self._cells(newest), action, members)
        return logits[..., :NUM_REWARD_CLASSES], logits[..., NUM_REWARD_CLASSES]

    def _cells(self, context: Tensor) -> Tensor:
        return F.pixel_unshuffle(_unit(context), self.GRID)


class _ResidualBlock(nn.Module):
    def __init__(self, members: int, width: int, num_actions: int) -> None:
        super().__init__()
        self.first = EnsembleConv2d(members, width, width, 3, padding=1)
        self.film = EnsembleFiLM(members, num_actions, width)
        self.second = EnsembleConv2d(members, width, width, 3, padding=1)

    def forward(self, x: Tensor, action: Tensor, members: slice) -> Tensor:
        h = self.film(self.first(F.relu(x), members), action, members)
        out: Tensor = x + self.second(F.relu(h), members)
        return out


class _OutcomeNet(nn.Module):
    """Two 3x3 convolutions with group normalisation, mean and maximum over the grid, one linear layer."""

    def __init__(self, members: int, cin: int, num_actions: int, width: int) -> None:
        super().__init__()
        self.first = EnsembleConv2d(members, cin, width, 3, padding=1)
        self.film = EnsembleFiLM(members, num_actions, width)
        self.norm = EnsembleGroupNorm(members, width, groups=4)
        self.second = EnsembleConv2d(members, width, width, 3, padding=1)
        self.second_norm = EnsembleGroupNorm(members, width, groups=4)
        self.out = EnsembleLinear(members, 2 * width, NUM_REWARD_CLASSES + 1)

    def forward(self, cells: Tensor, action: Tensor, members: slice) -> Tensor:
        x = F.relu(self.film(self.norm(self.first(cells, members), members), action, members))
        x = F.relu(self.second_norm(self.second(x, members), members))
        pooled = torch.cat([unpack_members(x, action.shape[0]).mean((3, 4)), _peak(x, action.shape[0])], dim=2)
        logits: Tensor = self.out(pooled, members)
        return logits


def _peak(x: Tensor, members: int) -> Tensor:
    return unpack_members(x, members).amax((3, 4))


class NatureWorldNet(WorldNet):
    """The plain form: Nature CNN encoder, `fc_dim` features with the action, transposed-convolution decoder."""

    def __init__(
        self, members: int, context: int, frame_shape: tuple[int, int], num_actions: int, *, fc_dim: int = 512
    ) -> None:
        super().__init__()
        self.num_actions = num_actions
        self.encoder = nn.ModuleList(
            [
                EnsembleConv2d(members, context, 32, 8, stride=4),
                EnsembleConv2d(members, 32, 64, 4, stride=2),
                EnsembleConv2d(members, 64, 64, 3),
            ]
        )
        self.grid = tuple(((side - 8) // 4 + 1 - 4) // 2 + 1 - 2 for side in frame_shape)
        flat = 64 * self.grid[0] * self.grid[1]
        self.features = EnsembleLinear(members, flat, fc_dim)
        self.hidden = EnsembleLinear(members, fc_dim + num_actions, fc_dim)
        self.expand = EnsembleLinear(members, fc_dim, flat)
        self.decoder = nn.ModuleList(
            [
                EnsembleConvTranspose2d(members, 64, 64, 3),
                EnsembleConvTranspose2d(members, 64, 32, 4, stride=2),
                EnsembleConvTranspose2d(members, 32, 1, 8, stride=4),
            ]
        )
        self.out = EnsembleLinear(members, fc_dim, NUM_REWARD_CLASSES + 1)
        if any((2 * (g + 1) + 3) * 4 + 8 != side for g, side in zip(self.grid, frame_shape, strict=True)):
            raise ValueError(f"[NatureWorldNet] expected sides that the decoder can rebuild, got {frame_shape}")

    def frame(self, context: Tensor, action: Tensor, members: slice = ALL) -> FramePrediction:
        x = F.relu(self.expand(self._embed(context, action, members), members))
        x = pack_members(x.unflatten(2, (64, *self.grid)))
        for layer in self.decoder[:-1]:
            x = F.relu(layer(x, members))
        delta = unpack_members(self.decoder[-1](x, members), context.shape[0])[:, :, 0]
        return FramePrediction(delta=delta, mask_logit=None)

    def outcome(self, context: Tensor, action: Tensor, members: slice = ALL) -> tuple[Tensor, Tensor]:
        logits: Tensor = self.out(self._embed(context, action, members), members)
        return logits[..., :NUM_REWARD_CLASSES], logits[..., NUM_REWARD_CLASSES]

    def _embed(self, context: Tensor, action: Tensor, members: slice) -> Tensor:
        x = _unit(context)
        for layer in self.encoder:
            x = F.relu(layer(x, members))
        x = F.relu(self.features(unpack_members(x, context.shape[0]).flatten(2), members))
        one_hot = F.one_hot(action, self.num_actions).to(x.dtype)
        return F.relu(self.hidden(torch.cat([x, one_hot], dim=2), members))
