"""Proximal policy optimization (Schulman et al. 2017, arXiv:1707.06347) with the details of its Atari form.

The details, and what differs from CleanRL and Stable-Baselines3: docs/algorithms/ppo.md.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from mbpo_fast.agents.acting import drawn_actions, mixed_with_random
from mbpo_fast.agents.learner import Learner
from mbpo_fast.nets import ActorCritic
from mbpo_fast.nets.precision import Bf16, use_bf16
from mbpo_fast.nets.tensors import on_device
from mbpo_fast.ops import Stream
from mbpo_fast.settings import Settings


class PPOConfig(Settings):
    """Settings of the PPO learner."""

    kind: Literal["ppo"] = Field("ppo", description="the learner")
    learning_rate: float = Field(2.5e-4, gt=0, description="Adam's step size")
    anneal_learning_rate: bool = Field(
        True, description="the step size falls linearly to 0 at training.total_steps"
    )
    adam_eps: float = Field(1e-5, gt=0, description="Adam's epsilon")
    max_grad_norm: float = Field(0.5, gt=0, description="gradients are clipped to this norm")
    gamma: float = Field(0.99, gt=0, le=1, description="discount of one agent step")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="lambda of the advantage estimate")
    rollout_steps: int = Field(128, ge=1, description="steps of every environment between updates")
    epochs: int = Field(4, ge=1, description="passes over the steps of a rollout")
    minibatches: int = Field(4, ge=1, description="gradient steps of a pass")
    clip_range: float = Field(0.1, gt=0, description="the ratio's gain ends this far from 1")
    anneal_clip_range: bool = Field(False, description="clip_range falls as the step size does")
    clip_value: bool = Field(True, description="clip the change of the value by clip_range too")
    normalize_advantage: bool = Field(True, description="mean 0 and deviation 1 within a minibatch")
    entropy_coef: float = Field(0.01, ge=0, description="weight of the entropy bonus")
    value_coef: float = Field(0.5, ge=0, description="weight of half the squared value error")
    hidden: int = Field(512, ge=1, description="width of the hidden layer that both heads share")
    bf16: Bf16 = Field(
        "auto", description="bfloat16 in all but the last layers; auto: where the hardware has it"
    )


@dataclass(slots=True, eq=False)
class PolicyBatch:
    """B steps of the policy that is being improved, f32 [B] where nothing else is said.

    Attributes:
        obs: uint8 [B, S, h, w], the stack that the action was drawn on.
        action: int64 [B].
        log_prob: the action's log-probability when it was drawn.
        value: the state's value then.
        advantage: the action's estimated advantage.
        returns: what the value is fitted to, advantage + value.

    """

    obs: NDArray[np.uint8]
    action: NDArray[np.int64]
    log_prob: NDArray[np.float32]
    value: NDArray[np.float32]
    advantage: NDArray[np.float32]
    returns: NDArray[np.float32]


class Decision(NamedTuple):
    """Actions i64 [B] with their log-probabilities and the states' values, both f32 [B]."""

    action: NDArray[np.int64]
    log_prob: NDArray[np.float32]
    value: NDArray[np.float32]


class PPO(Learner):
    """A policy and its value function over u8 stacks [B, S, h, w] and A discrete actions."""

    def __init__(
        self,
        config: PPOConfig,
        *,
        stack_size: int,
        frame_shape: tuple[int, int],
        num_actions: int,
        seed: int,
        device: torch.device | str = "cpu",
        cuda_graphs: bool = False,
    ) -> None:
        super().__init__(
            frame_shape=frame_shape,
            num_actions=num_actions,
            seed=seed,
            device=device,
            cuda_graphs=cuda_graphs,
        )
        self.config = config
        bf16 = use_bf16(config.bf16, self.device)
        self._network = self._seeded(
            lambda: ActorCritic(stack_size, frame_shape, num_actions, hidden=config.hidden, bf16=bf16), seed
        )
        # A graph reads the rate from memory.
        rate = torch.tensor(config.learning_rate, device=self.device) if cuda_graphs else config.learning_rate
        self.optimizer = torch.optim.Adam(
            self._network.parameters(),
            lr=rate,
            eps=config.adam_eps,
            fused=True,
            capturable=cuda_graphs,
        )

    @property
    def network(self) -> ActorCritic:
        """The network that acts."""
        return self._network

    def _saved(self) -> dict[str, nn.Module]:
        return {"network": self._network}

    def decide(
        self, obs: NDArray[np.uint8], *, seed: int, stream: Stream, step: int, first_row: int = 0
    ) -> Decision:
        """Actions drawn from the policy, one draw a row by (seed, stream, step) and its number.

        `first_row`: the number of the first row, where these are a part of more rows.
        """
        log_probs, value = self.appraise(obs)
        action = drawn_actions(np.exp(log_probs), seed=seed, stream=stream, step=step, first_row=first_row)
        return Decision(action, np.take_along_axis(log_probs, action[:, None], 1)[:, 0], value)

    def act(
        self, obs: NDArray[np.uint8], epsilon: float, *, seed: int, stream: Stream, step: int
    ) -> NDArray[np.int64]:
        """The actions of `decide`, a share of `epsilon` of them replaced by uniform ones: i64 [B]."""
        drawn = self.decide(obs, seed=seed, stream=stream, step=step).action
        return mixed_with_random(drawn, self.num_actions, epsilon, seed=seed, stream=stream, step=step)

    def values(self, obs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """State values f32 [B]."""
        return self.appraise(obs)[1]

    @torch.inference_mode()
    def appraise(self, obs: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Log-probabilities f32 [B, A] of the actions, and state values f32 [B]."""
        logits, value = self._network(torch.from_numpy(obs).to(self.device))
        return F.log_softmax(logits, dim=1).cpu().numpy(), value.cpu().numpy()

    def update(self, batch: PolicyBatch, *, remaining: float = 1.0) -> dict[str, Tensor]:
        """One gradient step; `remaining` is the share of training that is left, for what is annealed.

        Returns 0-d tensors; nothing is synchronised.
        """
        config = self.config
        rate = config.learning_rate * (remaining if config.anneal_learning_rate else 1.0)
        clip = config.clip_range * (remaining if config.anneal_clip_range else 1.0)
        group = self.optimizer.param_groups[0]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
        limit = torch.tensor(clip)
        arrays = (batch.obs, batch.action, batch.log_prob, batch.value, batch.advantage, batch.returns)
        columns = (on_device(x, self.device) for x in arrays)
        metrics = self._graphed_step(on_device(limit, self.device), *columns)
        self.gradient_steps += 1
        return metrics | {"learning_rate": torch.tensor(rate), "clip_range": limit}

    def _gradient_step(self, *columns: Tensor) -> dict[str, Tensor]:
        """Columns: the clip range f32 [], then the batch's, in the order of `PolicyBatch`."""
        metrics = self._losses(*columns)
        (metrics["grad_norm"],) = self._descend(
            metrics["loss"], self._network.parameters(), max_grad_norm=self.config.max_grad_norm
        )
        return {name: value.detach() for name, value in metrics.items()}

    def _losses(
        self,
        clip: Tensor,
        obs: Tensor,
        action: Tensor,
        old_log_prob: Tensor,
        old_value: Tensor,
        advantage: Tensor,
        returns: Tensor,
    ) -> dict[str, Tensor]:
        """Clipped surrogate, value error and entropy (Schulman et al. 2017, equations 7 and 9)."""
        config = self.config
        logits, value = self._network(obs)
        log_probs = F.log_softmax(logits, dim=1)
        log_ratio = log_probs.gather(1, action[:, None])[:, 0] - old_log_prob
        ratio = log_ratio.exp()
        if config.normalize_advantage and len(advantage) > 1:
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        surrogate = torch.min(advantage * ratio, advantage * ratio.clamp(1 - clip, 1 + clip))
        policy_loss = -surrogate.mean()
        value_loss = _value_loss(value, old_value, returns, clip if config.clip_value else None)
        entropy = -(log_probs.exp() * log_probs).sum(dim=1).mean()
        loss = policy_loss - config.entropy_coef * entropy + config.value_coef * value_loss
        with torch.no_grad():
            approx_kl = (ratio - 1 - log_ratio).mean()
            clip_fraction = ((ratio - 1).abs() > clip).float().mean()
        return {
            "loss": loss,
            "policy_gradient_loss": policy_loss,
            "value_loss": value_loss,
            "entropy_loss": -entropy,
            "approx_kl": approx_kl,
            "clip_fraction": clip_fraction,
        }


def _value_loss(value: Tensor, old_value: Tensor, returns: Tensor, clip: Tensor | None) -> Tensor:
    """Half the mean squared error; with `clip` the worse of it and that of the clipped change."""
    error = (value - returns).square()
    if clip is not None:
        clipped = old_value + (value - old_value).clamp(-clip, clip)
        error = torch.max(error, (clipped - returns).square())
    return 0.5 * error.mean()
