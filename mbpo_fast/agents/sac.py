"""Discrete soft actor-critic (Christodoulou 2019, arXiv:1910.07207), with n-step targets.

Each deviation from the paper is a switch: docs/algorithms/sac.md.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from mbpo_fast.agents.acting import drawn_actions, mixed_with_random
from mbpo_fast.agents.learner import Learner
from mbpo_fast.agents.off_policy import augmented_stacks, move_target
from mbpo_fast.agents.protocol import TransitionBatch
from mbpo_fast.nets import PolicyNetwork, QNetwork
from mbpo_fast.nets.precision import Bf16, use_bf16
from mbpo_fast.nets.tensors import on_device
from mbpo_fast.ops import Stream
from mbpo_fast.settings import Settings


class SACConfig(Settings):
    """Settings of the discrete SAC learner."""

    kind: Literal["sac"] = Field("sac", description="the learner")
    actor_learning_rate: float = Field(1e-4, gt=0, description="Adam's step size of the policy")
    critic_learning_rate: float = Field(1e-4, gt=0, description="Adam's step size of the critics")
    alpha_learning_rate: float = Field(3e-4, gt=0, description="Adam's step size of log alpha")
    adam_eps: float = Field(1.5e-4, gt=0, description="Adam's epsilon")
    max_grad_norm: float = Field(
        10.0, gt=0, description="gradients are clipped to this norm: the policy's, and the two critics'"
    )
    gamma: float = Field(0.99, gt=0, le=1, description="discount of one agent step")
    n_step: int = Field(3, ge=1, le=64, description="steps of real reward before the value estimate")
    hidden: int = Field(512, ge=1, description="width of the hidden layer of every network")
    twin: Literal["mean", "min"] = Field(
        "mean", description="how the twin critics are joined, in the target and for the policy"
    )
    entropy_in_target: bool = Field(False, description="the critics' target pays for entropy too")
    alpha: float = Field(0.05, gt=0, description="temperature, the price of entropy: at the first update")
    tune_alpha: bool = Field(True, description="alpha follows the target entropy; false: it is fixed")
    alpha_min: float = Field(1e-3, gt=0, description="tuning keeps alpha above")
    alpha_max: float = Field(1.0, gt=0, description="tuning keeps alpha below")
    target_entropy_scale: float = Field(
        0.4, ge=0, le=1, description="target entropy as a share of the uniform policy's"
    )
    target_tau: float = Field(
        0.005, gt=0, le=1, description="share of the online weights a target update takes"
    )
    target_period: int = Field(1, ge=1, description="gradient steps between target updates")
    random_shift: int = Field(
        0, ge=0, le=8, description="pixels of random shift of each sampled stack; 0: off"
    )
    bf16: Bf16 = Field(
        "auto", description="bfloat16 in all but the last layers; auto: where the hardware has it"
    )
    epsilon: float = Field(
        0.0, ge=0, le=1, description="share of uniformly random actions on top of the policy's own"
    )

    @model_validator(mode="after")
    def _alpha_between_its_bounds(self) -> "SACConfig":
        if not self.alpha_min <= self.alpha <= self.alpha_max:
            raise ValueError(
                f"alpha expects alpha_min <= alpha <= alpha_max, got {self.alpha_min}, {self.alpha}, "
                f"{self.alpha_max}"
            )
        return self


class SAC(Learner):
    """Policy, twin critics and temperature over u8 stacks [B, S, h, w] and A discrete actions.

    The three networks share no weights: gradients of the policy spoil the critics' features.
    """

    def __init__(
        self,
        config: SACConfig,
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
        self.target_entropy = config.target_entropy_scale * math.log(num_actions)
        sizes: dict[str, Any] = {"hidden": config.hidden, "bf16": use_bf16(config.bf16, self.device)}

        def twins() -> nn.Module:
            shape = (stack_size, frame_shape, num_actions)
            return nn.ModuleList(QNetwork(*shape, dueling=False, **sizes) for _ in range(2))

        def networks() -> nn.ModuleList:
            actor = PolicyNetwork(stack_size, frame_shape, num_actions, **sizes)
            return nn.ModuleList([actor, twins(), twins()])

        self.actor, self.critics, self.targets = self._seeded(networks, seed)
        self.targets.load_state_dict(self.critics.state_dict())
        self.targets.requires_grad_(False)
        self.log_alpha = torch.tensor(
            math.log(config.alpha), device=self.device, requires_grad=config.tune_alpha
        )
        self.optimizer = self._optimizer()
        self.priorities: Tensor | None = None

    def _optimizer(self) -> torch.optim.Adam:
        """One for all, so that a step is one call."""
        config = self.config
        groups: list[dict[str, Any]] = [
            {"params": list(self.critics.parameters()), "lr": config.critic_learning_rate},
            {"params": list(self.actor.parameters()), "lr": config.actor_learning_rate},
        ]
        if config.tune_alpha:
            groups.append({"params": [self.log_alpha], "lr": config.alpha_learning_rate})
        return torch.optim.Adam(groups, eps=config.adam_eps, fused=True, capturable=self.cuda_graphs)

    @property
    def network(self) -> nn.Module:
        """The network that acts."""
        return self.actor

    def _saved(self) -> dict[str, nn.Module]:
        return {"actor": self.actor, "critics": self.critics, "targets": self.targets}

    @property
    def n_step(self) -> int:
        """Steps of real reward in the next batch."""
        return self.config.n_step

    @property
    def gamma(self) -> float:
        """Discount of one agent step in the next batch."""
        return self.config.gamma

    @property
    def future_steps(self) -> int:
        """Steps after each real row that the next update wants to see too: none."""
        return 0

    def epsilon(self, env_steps: int) -> float:  # noqa: ARG002
        """Share of uniformly random actions after `env_steps` agent steps: the policy itself explores."""
        return self.config.epsilon

    @torch.no_grad()
    def probabilities(self, obs: Tensor) -> Tensor:
        """pi(.|s) f32 [B, A]; obs u8 [B, S, h, w]."""
        log_pi: Tensor = self.actor(obs.to(self.device))
        return log_pi.exp()

    def act(
        self, obs: NDArray[np.uint8], epsilon: float, *, seed: int, stream: Stream, step: int
    ) -> NDArray[np.int64]:
        """Actions i64 [B] drawn from the policy, a share `epsilon` of them uniform.

        The draws depend on (seed, stream, step) and the row alone.
        """
        probabilities = self.probabilities(torch.from_numpy(obs)).cpu().numpy()
        action = drawn_actions(probabilities, seed=seed, stream=stream, step=step)
        return mixed_with_random(action, self.num_actions, epsilon, seed=seed, stream=stream, step=step)

    def update(self, batch: TransitionBatch) -> dict[str, Tensor]:
        """One gradient step on all three losses; returns 0-d tensors, nothing is synchronised.

        Every loss sees the networks as they are before the step, so that the critics' values of the batch
        serve the critics and the policy.
        """
        obs, next_obs = augmented_stacks(
            (batch.obs, batch.next_obs),
            self.config.random_shift,
            seed=self.seed,
            step=self.gradient_steps,
            device=self.device,
        )
        columns = (on_device(x, self.device) for x in (batch.reward, batch.discount, batch.action))
        metrics = self._graphed_step(obs, next_obs, *columns)
        self.gradient_steps += 1
        if self.gradient_steps % self.config.target_period == 0:
            move_target(self.targets.parameters(), self.critics.parameters(), self.config.target_tau)
        return metrics

    def _gradient_step(self, *columns: Tensor) -> dict[str, Tensor]:
        """Columns: obs, next_obs, reward, discount, action."""
        obs, next_obs, reward, discount, action = columns
        q_values = _twin_values(self.critics, obs)
        log_pi: Tensor = self.actor(obs)
        chosen = q_values.gather(2, action.expand(2, -1)[:, :, None])[:, :, 0]
        critic_loss = _critic_loss(chosen, self._td_target(next_obs, reward, discount))
        alpha = self.log_alpha.detach().exp()
        actor_loss = _actor_loss(log_pi, self._joined(q_values.detach()), alpha)
        entropy = _entropy(log_pi.detach())
        alpha_loss = self._alpha_loss(entropy)
        grad_norm, actor_grad_norm = self._descend(
            critic_loss + actor_loss + alpha_loss,
            self.critics.parameters(),
            self.actor.parameters(),
            max_grad_norm=self.config.max_grad_norm,
        )
        with torch.no_grad():
            self.log_alpha.clamp_(math.log(self.config.alpha_min), math.log(self.config.alpha_max))
        return {
            "critic_loss": critic_loss.detach(),
            "actor_loss": actor_loss.detach(),
            "ent_coef_loss": alpha_loss.detach(),
            "ent_coef": alpha,
            "entropy": entropy.mean(),
            "q_values": chosen.detach().mean(),
            "grad_norm": grad_norm,
            "actor_grad_norm": actor_grad_norm,
        }

    @torch.no_grad()
    def _td_target(self, next_obs: Tensor, reward: Tensor, discount: Tensor) -> Tensor:
        """Reward + discount * V(next) f32 [B]; V is an exact expectation (section 3 of the paper)."""
        log_pi: Tensor = self.actor(next_obs)
        values = self._joined(_twin_values(self.targets, next_obs))
        if self.config.entropy_in_target:
            values = values - self.log_alpha.exp() * log_pi
        return reward + discount * (log_pi.exp() * values).sum(dim=1)

    def _joined(self, twins: Tensor) -> Tensor:
        """[B, A] of the twins' [2, B, A]."""
        return twins.mean(dim=0) if self.config.twin == "mean" else twins.amin(dim=0)

    def _alpha_loss(self, entropy: Tensor) -> Tensor:
        """J(alpha) of the paper, section 3: E[pi(s)^T (-alpha (log pi(s) + target))]; entropy [B]."""
        return self.log_alpha.exp() * (entropy.mean() - self.target_entropy)

    def state_dict(self) -> dict[str, Any]:
        """As every learner's, and the temperature."""
        return super().state_dict() | {"log_alpha": self.log_alpha.detach()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict` for an agent of the same settings."""
        super().load_state_dict(state)
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])


def _twin_values(critics: nn.Module, obs: Tensor) -> Tensor:
    """Values f32 [2, B, A] of both critics."""
    return torch.stack([critic(obs) for critic in critics.children()])


def _critic_loss(chosen: Tensor, target: Tensor) -> Tensor:
    """Half the mean squared error of each critic's values [2, B], summed: J_Q of the paper."""
    return 0.5 * (chosen - target).square().mean(dim=1).sum()


def _actor_loss(log_pi: Tensor, q_values: Tensor, alpha: Tensor) -> Tensor:
    """J_pi of the paper, section 3: E[pi(s)^T (alpha log pi(s) - Q(s))]; log_pi and q_values [B, A]."""
    return (log_pi.exp() * (alpha * log_pi - q_values)).sum(dim=1).mean()


def _entropy(log_pi: Tensor) -> Tensor:
    """Entropies [B] of log-probabilities [B, A]."""
    return -(log_pi.exp() * log_pi).sum(dim=1)
