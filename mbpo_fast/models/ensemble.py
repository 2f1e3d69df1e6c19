"""The world model: an ensemble of pixel networks, its elites and its decisions."""

import copy
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbpo_fast.models.config import ModelConfig
from mbpo_fast.models.losses import TYPICAL_CHANGE, frame_loss, total_loss
from mbpo_fast.nets import ClockNet, GridNet, NatureNet, PixelNet, Prediction
from mbpo_fast.nets.cuda_graph import GraphedStep, make_graphs
from mbpo_fast.nets.optimizer_state import load_optimizer_state, optimizer_state
from mbpo_fast.nets.precision import autocast, use_bf16
from mbpo_fast.ops import Stream, random_uniform

T = TypeVar("T")

CHUNK, GPU_CHUNK = 64, 4096
"""Rows of one forward pass outside training: enough to keep a core or a GPU busy, small enough for the core's
cache or the GPU's memory."""


class WorldModel:
    """E members, independent in their weights, with one optimiser.

    On a CPU the members run side by side on `threads` threads, each a plain network on one core: that
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
        cuda_graphs: bool = False,
    ) -> None:
        self.config, self.seed = config, seed
        self.device = torch.device(device)
        # On a GPU the members' work is queued one after the other by one thread.
        self._pool = _member_pool(threads) if threads > 1 and self.device.type == "cpu" else None
        self.bf16 = use_bf16(config.bf16, self.device)
        self._chunk = CHUNK if self.device.type == "cpu" else GPU_CHUNK
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.members = nn.ModuleList(
                _build_member(config, frame_shape, num_actions) for _ in range(config.ensemble_size)
            ).to(self.device)
        self.learners = copy.deepcopy(self.members) if config.weight_average else self.members
        self.members.requires_grad_(self.learners is self.members)
        self.optimizer = torch.optim.AdamW(
            self.learners.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
            capturable=cuda_graphs,
        )
        self._graphed_step = GraphedStep(self._gradient_step, make_graphs(cuda_graphs, self.device))
        self.elites = list(range(config.num_elites))
        self.reward_threshold = 0.5
        self.end_threshold = 0.5
        self.change_scale = TYPICAL_CHANGE
        self.gradient_steps = 0

    @property
    def change_scale(self) -> float:
        """The unit in which changes are learned."""
        return self._change_scale

    @change_scale.setter
    def change_scale(self, scale: float) -> None:
        self._change_scale = scale
        self._graphed_step.forget()

    def losses(
        self,
        net: nn.Module,
        context: Tensor,
        action: Tensor,
        next_frame: Tensor,
        reward: Tensor,
        terminated: Tensor,
        *,
        keep: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Losses of one member's network, 0-d: `frame` (summed over pixels), `reward`, `end`.

        context u8 [B, C, h, w], action i64 [B], next_frame u8 [B, h, w], reward f32 [B], terminated bool [B].
        `keep` f32 [B, outcome_width]: the dropout of the clock network's outcome.
        """
        dropout = () if keep is None else (keep,)
        with autocast(self.device, self.bf16):
            prediction: Prediction = net(context, action, *dropout)
        reward_class = reward.sign().long() + 1
        return {
            "frame": frame_loss(prediction, context[:, -1], next_frame, self.change_scale),
            "reward": F.cross_entropy(prediction.reward_logits, reward_class),
            "end": F.binary_cross_entropy_with_logits(prediction.end_logit, terminated.float()),
        }

    def update(self, *rows: Tensor) -> dict[str, Tensor]:
        """One gradient step of every member on its own rows: the arguments of `losses`, each [E, B, ...].

        Returns the losses, means over the members.
        """
        losses = self._graphed_step(*rows, *self._dropout(rows[0].shape[1]))
        self._average()
        self.gradient_steps += 1
        return losses

    def _gradient_step(self, *columns: Tensor) -> dict[str, Tensor]:
        """Columns: those of `update`, then each member's `keep`, where there is dropout."""
        self.optimizer.zero_grad()

        def differentiate(member: int) -> dict[str, Tensor]:
            own = [column[member] for column in columns]
            losses = self.losses(self.learners[member], *own[:5], keep=own[5] if own[5:] else None)
            total_loss(losses).backward()  # type: ignore[no-untyped-call]
            return {name: loss.detach() for name, loss in losses.items()}

        losses = self.each(differentiate, range(len(self.learners)))
        for net in self.learners:
            # Each member for itself: one norm over all would couple them.
            torch.nn.utils.clip_grad_norm_(net.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        return {name: torch.stack([member[name] for member in losses]).mean() for name in losses[0]}

    def _dropout(self, rows: int) -> list[Tensor]:
        """One f32 [E, B, outcome_width], the members' `keep`, or none where nothing is dropped.

        Drawn anew every step by number, so that a resumed run draws the same.
        """
        config, members = self.config, len(self.members)
        if config.arch != "clock" or not config.outcome_dropout:
            return []
        count = members * rows * config.outcome_width
        drawn = random_uniform(self.seed, Stream.MODEL_DROPOUT, self.gradient_steps, count)
        kept = (drawn >= config.outcome_dropout) / np.float32(1.0 - config.outcome_dropout)
        return [torch.from_numpy(kept).to(self.device).view(members, rows, config.outcome_width)]

    @torch.no_grad()
    def _average(self) -> None:
        """Move the judged weights towards the trained ones: quickly at first, then with a long memory."""
        if self.learners is self.members:
            return
        # Without the early haste the untrained start would weigh on the average for long.
        step = max(1.0 - self.config.weight_average, 1.0 / (1.0 + 0.1 * self.gradient_steps))
        torch._foreach_lerp_(list(self.members.parameters()), list(self.learners.parameters()), step)

    def renew_learner(self, member: int) -> None:
        """Let a member's training go on from its judged weights, with a fresh optimiser: it had diverged."""
        learner = self.learners[member]
        learner.load_state_dict(self.members[member].state_dict())
        for parameter in learner.parameters():
            for value in self.optimizer.state[parameter].values():
                value.zero_()  # in place: a graphed step goes on with this memory

    @torch.no_grad()
    def score(self, member: int, *rows: Tensor) -> float:
        """`total_loss` of one member on rows of any number; lower is better."""
        total = 0.0
        for i in range(0, len(rows[0]), self._chunk):
            chunk = [column[i : i + self._chunk] for column in rows]
            total += float(total_loss(self.losses(self.members[member], *chunk))) * len(chunk[0])
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
            self._predict(context[i : i + self._chunk], action[i : i + self._chunk], member)
            for i in range(0, len(context), self._chunk)
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
        drawn = sorted(set(member.tolist()))
        rows = {m: (member == m).nonzero()[:, 0] for m in drawn}
        said = self.each(lambda m: self.predict(context[rows[m]], action[rows[m]], m), drawn)
        order = torch.cat([rows[m] for m in drawn]).argsort()
        frame, reward_probs, end_prob = (torch.cat(column)[order] for column in zip(*said, strict=True))
        return frame, *self.decide(reward_probs, end_prob)

    def predict_elites(self, context: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Every elite's word, in the order of `elites`: `predict` with a first axis E, in parallel."""
        said = self.each(lambda m: self.predict(context, action, m), self.elites)
        frames, reward_probs, end_probs = (torch.stack(column) for column in zip(*said, strict=True))
        return frames, reward_probs, end_probs

    def decide(self, reward_probs: Tensor, end_prob: Tensor) -> tuple[Tensor, Tensor]:
        """Reward f32 [B] in {-1, 0, 1} and terminated bool [B] by the calibrated thresholds."""
        return self.decide_reward(reward_probs), end_prob > self.end_threshold

    def decide_reward(self, probs: Tensor) -> Tensor:
        """Sign of the reward f32 [B]: none unless its probability passes the calibrated threshold."""
        rewarded = (1.0 - probs[:, 1]) > self.reward_threshold
        return (probs[:, 2] >= probs[:, 0]).float().mul_(2.0).sub_(1.0) * rewarded

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next fit or rollout depends on."""
        return {
            "members": self.members.state_dict(),
            "learners": {} if self.learners is self.members else self.learners.state_dict(),
            "optimizer": optimizer_state(self.optimizer),
            "elites": self.elites,
            "reward_threshold": self.reward_threshold,
            "end_threshold": self.end_threshold,
            "change_scale": self.change_scale,
            "gradient_steps": self.gradient_steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict` for a model of the same settings."""
        self.members.load_state_dict(state["members"])
        if self.learners is not self.members:
            self.learners.load_state_dict(state["learners"])
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.elites = [int(m) for m in state["elites"]]
        self.reward_threshold = float(state["reward_threshold"])
        self.end_threshold = float(state["end_threshold"])
        self.change_scale = float(state["change_scale"])
        self._graphed_step.forget()
        self.gradient_steps = int(state["gradient_steps"])


def _member_pool(threads: int) -> ThreadPoolExecutor:
    # Each worker keeps its operations on its own core: the number of threads is a thread's own setting.
    return ThreadPoolExecutor(threads, "member", initializer=torch.set_num_threads, initargs=(1,))


def _build_member(config: ModelConfig, frame_shape: tuple[int, int], num_actions: int) -> PixelNet:
    if config.arch == "nature":
        return NatureNet(config.context, frame_shape, num_actions, fc_dim=config.fc_dim)
    sizes = {"width": config.width, "depth": config.depth, "outcome_width": config.outcome_width}
    if config.arch == "grid":
        return GridNet(config.context, frame_shape, num_actions, **sizes)
    assert config.arch == "clock", config.arch
    sizes |= {"detail_frames": config.detail_frames, "clock_width": config.clock_width}
    return ClockNet(config.context, frame_shape, num_actions, **sizes)
