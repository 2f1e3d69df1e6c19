"""World-model networks: the change of the newest frame, the class of the reward and the end, from pixels."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbpo_fast.nets.context import movements
from mbpo_fast.nets.nature import NatureEncoder
from mbpo_fast.nets.precision import compute_dtype

NUM_REWARD_CLASSES = 3
"""Rewards are predicted as sign(r) + 1: 0 negative, 1 none, 2 positive."""


@dataclass(frozen=True)
class Prediction:
    """What a network says of the next step.

    `delta` f32 [B, h, w]: the change where a pixel changes, in units of 255 gray levels.
    `mask_logit` f32 [B, h, w] or None: log odds that a pixel changes at all; None means "always".
    `reward_logits` f32 [B, 3]: of the classes negative, none, positive. `end_logit` f32 [B]: of the end.
    """

    delta: Tensor
    mask_logit: Tensor | None
    reward_logits: Tensor
    end_logit: Tensor

    def next_frame(self, newest: Tensor) -> Tensor:
        """u8 [B, h, w]: the newest frame with the predicted change applied, rounded and clipped."""
        delta = self.delta if self.mask_logit is None else self.delta * (self.mask_logit > 0)
        return newest.to(torch.float32).add(delta, alpha=255.0).round_().clamp_(0, 255).to(torch.uint8)


class PixelNet(nn.Module, ABC):
    """A network of one member.

    `context` u8 [B, C, h, w] (oldest frame first) and `action` i64 [B] in, a `Prediction` out.
    """

    @abstractmethod
    def forward(self, context: Tensor, action: Tensor) -> Prediction:
        """Predict the step that `action` leads to."""


class GridNet(PixelNet):
    """Residual 3x3 convolutions on the grid that space-to-depth by 4 makes of the screen (21x21 for 84x84).

    The frame head gives a change mask and a value for the changed pixels, so that still pixels, about 99 % of
    a screen, cost nothing and blur nothing. Reward and end come from a small net of their own, on the newest
    frames: on a shared trunk they drown in the pixels' gradient.
    """

    input_scale: Tensor
    GRID = 4
    CHANGED_PRIOR = 0.013
    OUTCOME_FRAMES = 4

    def __init__(
        self,
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
            raise ValueError(f"[GridNet] expected frame sides divisible by {self.GRID}, got {frame_shape}")
        self.cells = self.GRID * self.GRID
        scale = torch.full((1, context * self.cells, 1, 1), 4.0 / 255.0)
        scale[:, -self.cells :] = 2.0 / 255.0
        self.register_buffer("input_scale", scale, persistent=False)
        self.stem = nn.Conv2d(context * self.cells, width, 1)
        self.blocks = nn.ModuleList(_ResidualBlock(width, num_actions) for _ in range(depth))
        self.head = nn.Conv2d(width, 2 * self.cells, 1)
        self.outcome = _OutcomeNet(self.OUTCOME_FRAMES * self.cells, num_actions, outcome_width)
        # A fresh member copies the last frame.
        nn.init.zeros_(self.head.weight)
        bias = torch.zeros(2 * self.cells)
        bias[: self.cells] = math.log(self.CHANGED_PRIOR / (1 - self.CHANGED_PRIOR))
        self.head.bias = nn.Parameter(bias)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, context: Tensor, action: Tensor) -> Prediction:
        """See `PixelNet`."""
        # Differences of neighbouring frames, then the newest frame: what moves is most of what matters.
        # The stem could learn this linear map; given as an input it trains several times faster.
        cells = movements(context, context.shape[1], self.GRID, compute_dtype(context.device))
        cells = cells * self.input_scale.to(cells.dtype)
        x = self.stem(cells)
        for block in self.blocks:
            x = block(x, action)
        pixels = F.pixel_shuffle(self.head(F.relu(x)).float(), self.GRID)
        logits = self.outcome(cells[:, -self.OUTCOME_FRAMES * self.cells :], action)
        return Prediction(
            delta=pixels[:, 1],
            mask_logit=pixels[:, 0],
            reward_logits=logits[:, :NUM_REWARD_CLASSES],
            end_logit=logits[:, NUM_REWARD_CLASSES],
        )


class _FiLM(nn.Module):
    """Scale and shift every channel by the action (Perez et al. 2018)."""

    def __init__(self, num_actions: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(0.1 * torch.randn(num_actions, channels))
        self.shift = nn.Parameter(0.1 * torch.randn(num_actions, channels))

    def forward(self, x: Tensor, action: Tensor) -> Tensor:
        scale, shift = (table[action][:, :, None, None].to(x.dtype) for table in (self.scale, self.shift))
        return torch.addcmul(x + shift, x, scale)


class _ResidualBlock(nn.Module):
    def __init__(self, width: int, num_actions: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.film = _FiLM(num_actions, width)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, action: Tensor) -> Tensor:
        h = self.film(self.first(F.relu(x)), action)
        out: Tensor = x + self.second(F.relu(h))
        return out


class _OutcomeNet(nn.Module):
    """Two 3x3 convolutions with group normalisation, then logits by cell, pooled by a soft maximum.

    A reward or a lost life is a local event, a shot that meets its target: it is where any cell says so.
    """

    def __init__(self, cin: int, num_actions: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(cin, width, 3, padding=1)
        self.first_norm = nn.GroupNorm(4, width)
        self.film = _FiLM(num_actions, width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.second_norm = nn.GroupNorm(4, width)
        self.out = nn.Conv2d(width, NUM_REWARD_CLASSES + 1, 1)

    def forward(self, x: Tensor, action: Tensor) -> Tensor:
        x = F.relu(self.film(self.first_norm(self.first(x)), action))
        x = F.relu(self.second_norm(self.second(x)))
        by_cell: Tensor = self.out(x).float().flatten(2)
        return by_cell.logsumexp(dim=2) - math.log(by_cell.shape[2])


class NatureNet(PixelNet):
    """The plain form: Nature CNN encoder, `fc_dim` features with the action, transposed convolutions."""

    def __init__(
        self, context: int, frame_shape: tuple[int, int], num_actions: int, *, fc_dim: int = 512
    ) -> None:
        super().__init__()
        self.num_actions = num_actions
        self.encoder = NatureEncoder(context, frame_shape)
        maps, flat = self.encoder.latent_shape, self.encoder.out_features
        if any((2 * (g + 1) + 3) * 4 + 8 != side for g, side in zip(maps[1:], frame_shape, strict=True)):
            raise ValueError(f"[NatureNet] expected sides that the decoder can rebuild, got {frame_shape}")
        self.features = nn.Sequential(nn.Linear(flat, fc_dim), nn.ReLU())
        self.hidden = nn.Sequential(nn.Linear(fc_dim + num_actions, fc_dim), nn.ReLU())
        self.decoder = nn.Sequential(
            nn.Linear(fc_dim, flat),
            nn.ReLU(),
            nn.Unflatten(1, maps),
            nn.ConvTranspose2d(64, 64, 3),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 8, stride=4),
        )
        self.out = nn.Linear(fc_dim, NUM_REWARD_CLASSES + 1)

    def forward(self, context: Tensor, action: Tensor) -> Prediction:
        """See `PixelNet`."""
        features = self.features(self.encoder(context))
        one_hot = F.one_hot(action, self.num_actions).to(features.dtype)
        hidden = self.hidden(torch.cat([features, one_hot], dim=1))
        logits = self.out(hidden).float()
        return Prediction(
            delta=self.decoder(hidden)[:, 0].float(),
            mask_logit=None,
            reward_logits=logits[:, :NUM_REWARD_CLASSES],
            end_logit=logits[:, NUM_REWARD_CLASSES],
        )
