"""The default world-model network: a grid network that also remembers, coarsely, when things happened."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbpo_fast.nets.context import cell_steps, movements
from mbpo_fast.nets.precision import compute_dtype
from mbpo_fast.nets.world import NUM_REWARD_CLASSES, PixelNet, Prediction

CELL = 4
"""Side of a cell in pixels: the network works on the grid of cells, 21x21 for 84x84."""
CHANGED_PRIOR = 0.013
"""Share of pixels that change in a step, roughly: where a fresh mask starts."""
DIFFERENCE_SCALE, NEWEST_SCALE = 4.0 / 255.0, 2.0 / 255.0
"""Bring differences of pixels, and pixels, from gray levels to about one."""
COARSE_SCALE = 8.0 / 255.0
"""The same for the changes of cell means, about a tenth of a pixel's."""
CLOCK_LIMIT = 2.0
"""Gray levels of mean change at which a tick of the clock saturates: a whole new screen is not louder."""
FINE_LIMIT = 0.2
"""The same for the outcome's second look at the clock: while a ship explodes, little else moves."""
FINE_SCALE = 10.0
"""Brings the fine ticks to the size of the others."""
MOST_BANDS = 7
"""Bands of lines, at most, that have a clock of their own."""
SEEN_FRAMES = 2
"""Newest frames that the outcome sees pixel by pixel: where things are, and how they have just moved."""
LOGIT_LIMIT = 2.0
"""A pixel that changes for sure or surely not: how sure the mask is beyond that tells the outcome nothing."""


class ClockNet(PixelNet):
    """Residual 3x3 convolutions on a grid of 4x4-pixel cells, steered by the action and a clock.

    What happens next in a game often depends on when something last happened, many steps ago: the invaders
    march every 8th step, a lost life is counted 32 steps after the hit. So there are three looks at the past:
    the newest `detail_frames` frames pixel by pixel; all `context` frames as means of cells; and the clock,
    the mean change of every past step, which scales and shifts the channels of each block (FiLM, Perez et
    al. 2018). The outcome has a clock for each band of the screen's lines, too: a ship explodes at the bottom
    while bombs and invaders go on above it.

    Rewards and ends are rare: learned from the pixels alone they are learned by heart. So the outcome is read
    from what the pixels' part knows of every cell and from the change that it predicts there, a hit or an
    explosion, which it learns from every step. No gradient of the outcome goes back into it. Which step it is
    in which a shot arrives is a matter of single pixels: for that the outcome sees the newest ones, too.
    """

    def __init__(
        self,
        context: int,
        frame_shape: tuple[int, int],
        num_actions: int,
        *,
        detail_frames: int = 12,
        width: int = 32,
        depth: int = 2,
        outcome_width: int = 32,
        outcome_depth: int = 1,
        clock_width: int = 64,
    ) -> None:
        super().__init__()
        if any(side % CELL for side in frame_shape):
            raise ValueError(f"[ClockNet] expected frame sides divisible by {CELL}, got {frame_shape}")
        self.detail_frames = min(detail_frames, context)
        self.stem = _MovementStem(self.detail_frames, width)
        self.memory = nn.Conv2d(context - 1, width, 1, bias=False)
        self.place = nn.Parameter(torch.zeros(1, width, *(side // CELL for side in frame_shape)))
        self.condition = _Condition(context - 1, num_actions, clock_width)
        self.blocks = nn.ModuleList(_ResidualBlock(width, clock_width, num_actions) for _ in range(depth))
        self.head = nn.Conv2d(width, 2 * CELL**2, 1)
        known, pixels = 2 * width + 2 * CELL**2, SEEN_FRAMES * CELL**2
        lines = frame_shape[0] // CELL
        self.bands = max(n for n in range(1, MOST_BANDS + 1) if lines % n == 0)
        self.outcome_condition = _Condition((2 + self.bands) * (context - 1), num_actions, clock_width)
        self.outcome = _OutcomeNet(known, pixels, outcome_width, outcome_depth, clock_width, num_actions)
        self._start_as_a_copy()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _start_as_a_copy(self) -> None:
        nn.init.zeros_(self.head.weight)
        bias = torch.zeros(2 * CELL**2)
        bias[: CELL**2] = math.log(CHANGED_PRIOR / (1 - CHANGED_PRIOR))
        self.head.bias = nn.Parameter(bias)

    def forward(self, context: Tensor, action: Tensor, keep: Tensor | None = None) -> Prediction:
        """See `PixelNet`; `keep` f32 [B, outcome_width] scales the outcome's last channels: its dropout."""
        steps = cell_steps(context, CELL)
        clock, band_clocks = self._clocks(steps)
        dtype = compute_dtype(context.device)
        # Added up in float32: what is left of nearly equal frames would drown in bfloat16's rounding.
        with torch.autocast(context.device.type, enabled=False):
            looked, newest = self.stem(context, dtype)
            seen = looked + self.memory(steps.mul_(COARSE_SCALE)) + self.place
        condition = self.condition(clock, action)
        x = seen
        for block in self.blocks:
            x = block(x, condition, action)
        head = self.head(F.relu(x)).float()
        pixels = F.pixel_shuffle(head, CELL)
        known = self._known(seen, x, head)
        ticks = torch.cat([clock, clock.clamp(max=FINE_LIMIT) * FINE_SCALE, band_clocks], dim=1)
        logits = self.outcome(known, newest, self.outcome_condition(ticks, action), action, keep)
        return Prediction(
            delta=pixels[:, 1],
            mask_logit=pixels[:, 0],
            reward_logits=logits[:, :NUM_REWARD_CLASSES],
            end_logit=logits[:, NUM_REWARD_CLASSES],
        )

    def _clocks(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Mean changes: of the screen f32 [B, C - 1]; of its bands, top first, f32 [B, bands * (C - 1)]."""
        by_line = steps.abs().mean(dim=3)
        bands = by_line.reshape(*by_line.shape[:2], self.bands, -1).mean(dim=3)
        clock = by_line.mean(dim=2)
        return clock.clamp_(max=CLOCK_LIMIT), bands.transpose(1, 2).flatten(1).clamp_(max=CLOCK_LIMIT)

    def _known(self, seen: Tensor, x: Tensor, head: Tensor) -> Tensor:
        """What the pixels' part knows of every cell, f32 [B, 2 W + 32, h / 4, w / 4], without a gradient."""
        predicted = head.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        return torch.cat([F.relu(seen), F.relu(x).float(), predicted], dim=1).detach()


class _MovementStem(nn.Module):
    """A linear map of the pixels of each cell: of the frames' differences and of the newest frame.

    These train several times faster than frames. They come as whole numbers, which bfloat16 holds exactly; it
    is the weights that are scaled.
    """

    scale: Tensor

    def __init__(self, frames: int, channels: int) -> None:
        super().__init__()
        fresh = nn.Conv2d(frames, channels, CELL, stride=CELL)
        assert fresh.bias is not None
        self.weight, self.bias = fresh.weight, fresh.bias
        scale = torch.full((frames, 1, 1), DIFFERENCE_SCALE)
        scale[-1] = NEWEST_SCALE
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, context: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """u8 [B, C, h, w] -> f32 [B, channels, h / 4, w / 4], by products in `dtype`.

        And what it saw of the newest `SEEN_FRAMES`, their differences first, f32 [B, 32, h / 4, w / 4].
        """
        weight = (self.weight * self.scale).flatten(1)[:, :, None, None]
        cells = movements(context, len(self.scale), CELL, dtype)
        last = self.scale[-SEEN_FRAMES:].repeat_interleave(CELL**2, dim=0)
        newest = cells[:, -len(last) :].float() * last
        return F.conv2d(cells, weight.to(dtype), self.bias.to(dtype)).float(), newest


class _Condition(nn.Module):
    """What steers the blocks: a hidden layer over the clock and the action."""

    def __init__(self, ticks: int, num_actions: int, width: int) -> None:
        super().__init__()
        self.num_actions = num_actions
        self.hidden = nn.Linear(num_actions + ticks, width)

    def forward(self, clock: Tensor, action: Tensor) -> Tensor:
        one_hot = F.one_hot(action, self.num_actions).to(clock.dtype)
        return F.relu(self.hidden(torch.cat([one_hot, clock], dim=1)))


class _FiLM(nn.Module):
    """Scale and shift every channel by the condition and, directly, by the action."""

    def __init__(self, condition: int, num_actions: int, channels: int) -> None:
        super().__init__()
        self.by_condition = nn.Linear(condition, 2 * channels)
        self.by_action = nn.Parameter(0.1 * torch.randn(num_actions, 2 * channels))

    def forward(self, x: Tensor, condition: Tensor, action: Tensor) -> Tensor:
        both = (self.by_condition(condition) + self.by_action[action]).to(x.dtype)
        scale, shift = both[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(x + shift, x, scale)


class _ResidualBlock(nn.Module):
    def __init__(self, width: int, condition: int, num_actions: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.film = _FiLM(condition, num_actions, width)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, condition: Tensor, action: Tensor) -> Tensor:
        h = self.film(self.first(F.relu(x)), condition, action)
        out: Tensor = x + self.second(F.relu(h))
        return out


class _OutcomeNet(nn.Module):
    """3x3 convolutions with group normalisation, then logits by cell, pooled by a soft maximum.

    A reward or a lost life is a local event, a shot that meets its target: it is where any cell says so.
    """

    GROUP = 8
    """Channels that are normalised together, of the `known` ones."""

    def __init__(
        self, known: int, pixels: int, width: int, depth: int, condition: int, num_actions: int
    ) -> None:
        super().__init__()
        # Without weights of its own: the convolution has them, and torch's backward pass dies (a segmentation
        # fault) where a normalisation's weights need a gradient and its input, as here, does not.
        self.known_norm = nn.GroupNorm(known // self.GROUP, known, affine=False)
        self.first = nn.Conv2d(known + pixels, width, 3, padding=1)
        self.norm = nn.GroupNorm(4, width)
        self.film = _FiLM(condition, num_actions, width)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.norms = nn.ModuleList(nn.GroupNorm(4, width) for _ in range(depth))
        self.out = nn.Conv2d(width, NUM_REWARD_CLASSES + 1, 1)

    def forward(
        self, known: Tensor, newest: Tensor, condition: Tensor, action: Tensor, keep: Tensor | None
    ) -> Tensor:
        """Logits of the reward classes and of the end, f32 [B, 4]."""
        x = torch.cat([self.known_norm(known), newest], dim=1)
        # Normalised in float32: on CPUs torch's bfloat16 form takes three times as long.
        x = self.norm(self.first(x).float())
        x = F.relu(self.film(x, condition, action))
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x).float()))
        if keep is not None:
            x = x * keep[:, :, None, None].to(x.dtype)
        by_cell: Tensor = self.out(x).float().flatten(2)
        return by_cell.logsumexp(dim=2) - math.log(by_cell.shape[2])
