"""The world model: an ensemble of pixel networks, its losses, its elites and its decisions."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from mbpo_fast.models.gate import GateConfig
from mbpo_fast.models.oracle import OracleConfig
from mbpo_fast.nets import GridNet, NatureNet, PixelNet, Prediction
from mbpo_fast.nets.optimizer_state import load_optimizer_state, optimizer_state
from mbpo_fast.nets.precision import Bf16, autocast, use_bf16
from mbpo_fast.settings import Settings

T = TypeVar("T")

CHANGED_LEVELS = 4
"""A changed pixel is one that differs by more than this many gray levels."""
CHUNK = 64
"""Rows of one forward pass outside training: enough to keep a core busy, small enough for its cache."""
FRAME_LOSS_SCALE = 0.01
"""Summed over a frame the pixel loss is some hundred times the outcome loss; this brings them together."""


class ModelConfig(Settings):
    """Settings of the world model, its training and its gate."""

    kind: Literal["learned", "oracle"] = Field(
        "learned", description="learned: an ensemble of networks; oracle: the emulator itself, for comparison"
    )
    arch: Literal["grid", "nature"] = Field("grid", description="network of a member")
    ensemble_size: int = Field(5, ge=1, le=64, description="members E")
    num_elites: int = Field(3, ge=1, description="members that roll out, best held-out score first")
    context: int = Field(8, ge=4, le=32, description="newest frames that the model sees")
    width: int = Field(32, ge=4, description="channels of the grid network")
    depth: int = Field(2, ge=1, description="residual blocks of the grid network")
    outcome_width: int = Field(16, ge=4, multiple_of=4, description="channels of the reward and end network")
    fc_dim: int = Field(512, ge=1, description="features of the nature network")
    learning_rate: float = Field(2e-3, gt=0, description="AdamW's step size")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW's decoupled weight decay")
    max_grad_norm: float = Field(10.0, gt=0, description="gradients are clipped to this norm")
    batch_size: int = Field(32, ge=8, description="rows a member sees in one update")
    bf16: Bf16 = Field(
        "auto", description="bfloat16 autocast (float32 weights); auto: where the hardware has it"
    )
    train_freq: int = Field(250, ge=1, description="agent steps between model fits and rollouts")
    first_updates: int = Field(1000, ge=1, description="gradient steps of the first fit, at most")
    updates: int = Field(100, ge=1, description="gradient steps of every later fit, at most")
    check_every: int = Field(100, ge=1, description="gradient steps between held-out checks")
    patience: int = Field(
        5, ge=1, description="checks without a gain of 1 % in any member before a fit stops"
    )
    holdout_ratio: float = Field(0.1, gt=0, lt=1, description="share of episodes that is never trained on")
    holdout_rows: int = Field(512, ge=16, description="held-out transitions that a check looks at")
    rewarded_share: float = Field(0.25, ge=0, lt=1, description="share of a model batch that has a reward")
    ended_share: float = Field(0.125, ge=0, lt=1, description="share of a model batch that ends an episode")
    gate: GateConfig = GateConfig()
    oracle: OracleConfig = OracleConfig()

    @model_validator(mode="after")
    def _consistent(self) -> "ModelConfig":
        if self.num_elites > self.ensemble_size:
            raise ValueError(f"num_elites {self.num_elites} exceeds ensemble_size {self.ensemble_size}")
        if self.rewarded_share + self.ended_share > 0.75:
            raise ValueError("rewarded_share + ended_share must leave a quarter of the batch to chance")
        if self.holdout_rows < self.gate.min_holdout:
            raise ValueError(
                f"holdout_rows {self.holdout_rows} must reach gate.min_holdout {self.gate.min_holdout}"
            )
        return self


class WorldModel:
    """E members, independent in their weights, with one optimiser.

    The members run side by side on `threads` threads, each a plain network on one core: that
    beats grouped convolutions, and threads inside an operation on busy cores (figures in ARCHITECTURE.md).
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        frame_shape: tuple[int, int],
        num_actions: int,
        seed: int,
        device: torch.device | str = "cpu",
        threads: int = 1,
    ) -> None:
        self.config = config
        self._pool = _member_pool(threads) if threads > 1 else None
        self.device = torch.device(device)
        self.bf16 = use_bf16(config.bf16, self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.members = nn.ModuleList(
                _build_member(config, frame_shape, num_actions) for _ in range(config.ensemble_size)
            ).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.members.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.elites = list(range(config.num_elites))
        self.reward_threshold = 0.5
        self.end_threshold = 0.5
        self.gradient_steps = 0

    def losses(
        self,
        member: int,
        context: Tensor,
        action: Tensor,
        next_frame: Tensor,
        reward: Tensor,
        terminated: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of one member, 0-d: `frame` (summed over pixels), `reward`, `end`.

        context u8 [B, C, h, w], action i64 [B], next_frame u8 [B, h, w], reward f32 [B], terminated bool [B].
        """
        with autocast(self.device, self.bf16):
            prediction: Prediction = self.members[member](context, action)
        reward_class = reward.sign().long() + 1
        return {
            "frame": frame_loss(prediction, context[:, -1], next_frame),
            "reward": F.cross_entropy(prediction.reward_logits, reward_class),
            "end": F.binary_cross_entropy_with_logits(prediction.end_logit, terminated.float()),
        }

    def update(self, *rows: Tensor) -> dict[str, Tensor]:
        """One gradient step of every member on its own rows: the arguments of `losses`, each [E, B, ...].

        Returns the losses, means over the members.
        """
        self.optimizer.zero_grad()

        def differentiate(member: int) -> dict[str, Tensor]:
            losses = self.losses(member, *(column[member] for column in rows))
            total_loss(losses).backward()  # type: ignore[no-untyped-call]
            return {name: loss.detach() for name, loss in losses.items()}

        losses = self.each(differentiate, range(len(self.members)))
        for net in self.members:
            # Each member for itself: one norm over all would couple them.
            torch.nn.utils.clip_grad_norm_(net.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        self.gradient_steps += 1
        return {name: torch.stack([member[name] for member in losses]).mean() for name in losses[0]}

    @torch.no_grad()
    def score(self, member: int, *rows: Tensor) -> float:
        """`total_loss` of one member on rows of any number; lower is better."""
        total = 0.0
        for i in range(0, len(rows[0]), CHUNK):
            chunk = [column[i : i + CHUNK] for column in rows]
            total += float(total_loss(self.losses(member, *chunk))) * len(chunk[0])
        return total / len(rows[0])

    def each(self, function: Callable[[int], T], members: Iterable[int]) -> list[T]:
        """`function` of each member, side by side; what it computes must not depend on the others."""
        return list(map(function, members) if self._pool is None else self._pool.map(function, members))

    @torch.no_grad()
    def predict(self, context: Tensor, action: Tensor, member: int) -> tuple[Tensor, Tensor, Tensor]:
        """One member's word on context u8 [B, C, h, w], action i64 [B].

        Returns the next frame u8 [B, h, w], probabilities of the reward classes f32 [B, 3] and of the end
        f32 [B].
        """
        parts = [
            self._predict(context[i : i + CHUNK], action[i : i + CHUNK], member)
            for i in range(0, len(context), CHUNK)
        ]
        frame, reward_probs, end_prob = (torch.cat(column) for column in zip(*parts, strict=True))
        return frame, reward_probs, end_prob

    def _predict(self, context: Tensor, action: Tensor, member: int) -> tuple[Tensor, Tensor, Tensor]:
        with autocast(self.device, self.bf16):
            prediction: Prediction = self.members[member](context, action)
        frame = prediction.next_frame(context[:, -1])
        return frame, prediction.reward_logits.softmax(dim=1), prediction.end_logit.sigmoid()

    def step(self, context: Tensor, action: Tensor, member: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One imagined step: row b is run by member[b] alone (i64 [B]).

        Returns frame u8 [B, h, w], reward f32 [B] in {-1, 0, 1} and terminated bool [B].
        """
        frame = torch.empty_like(context[:, -1])
        reward = torch.empty(len(context), device=self.device)
        terminated = torch.empty(len(context), dtype=torch.bool, device=self.device)
        drawn = sorted(set(member.tolist()))
        rows = {m: (member == m).nonzero()[:, 0] for m in drawn}
        said = self.each(lambda m: self.predict(context[rows[m]], action[rows[m]], m), drawn)
        for m, (next_frame, reward_probs, end_prob) in zip(drawn, said, strict=True):
            frame[rows[m]] = next_frame
            reward[rows[m]] = self.decide_reward(reward_probs)
            terminated[rows[m]] = end_prob > self.end_threshold
        return frame, reward, terminated

    def decide_reward(self, probs: Tensor) -> Tensor:
        """Sign of the reward f32 [B]: none unless its probability passes the calibrated threshold."""
        rewarded = (1.0 - probs[:, 1]) > self.reward_threshold
        return (probs[:, 2] >= probs[:, 0]).float().mul_(2.0).sub_(1.0) * rewarded

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next fit or rollout depends on."""
        return {
            "members": self.members.state_dict(),
            "optimizer": optimizer_state(self.optimizer),
            "elites": self.elites,
            "reward_threshold": self.reward_threshold,
            "end_threshold": self.end_threshold,
            "gradient_steps": self.gradient_steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict` for a model of the same settings."""
        self.members.load_state_dict(state["members"])
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.elites = [int(m) for m in state["elites"]]
        self.reward_threshold = float(state["reward_threshold"])
        self.end_threshold = float(state["end_threshold"])
        self.gradient_steps = int(state["gradient_steps"])


def _member_pool(threads: int) -> ThreadPoolExecutor:
    # Each worker keeps its operations on its own core: the number of threads is a thread's own setting.
    return ThreadPoolExecutor(threads, "member", initializer=torch.set_num_threads, initargs=(1,))


def _build_member(config: ModelConfig, frame_shape: tuple[int, int], num_actions: int) -> PixelNet:
    if config.arch == "nature":
        return NatureNet(config.context, frame_shape, num_actions, fc_dim=config.fc_dim)
    return GridNet(
        config.context,
        frame_shape,
        num_actions,
        width=config.width,
        depth=config.depth,
        outcome_width=config.outcome_width,
    )


def frame_loss(prediction: Prediction, newest: Tensor, next_frame: Tensor) -> Tensor:
    """Loss, 0-d, summed over pixels and averaged over rows; averaged over pixels it learns nothing.

    With a mask: cross-entropy of "changes" plus the absolute error of the change where there is one.
    Without: the squared error of the change.
    """
    change = (next_frame.to(torch.float32) - newest.to(torch.float32)).mul_(1.0 / 255.0)
    delta = prediction.delta
    if prediction.mask_logit is None:
        return F.mse_loss(delta, change, reduction="sum") / len(change)
    changed = (change.abs() > CHANGED_LEVELS / 255.0).float()
    mask = F.binary_cross_entropy_with_logits(prediction.mask_logit, changed, reduction="sum")
    value = ((delta - change).abs() * changed).sum()
    return (mask + 2.0 * value) / len(change)


def total_loss(losses: Mapping[str, Tensor]) -> Tensor:
    """Training objective and held-out score of a member, 0-d: lower is better."""
    return FRAME_LOSS_SCALE * losses["frame"] + losses["reward"] + losses["end"]
