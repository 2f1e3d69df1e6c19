"""Double DQN (van Hasselt, Guez and Silver 2016), with n-step targets, dueling head and random shifts.

Deviations from the papers, each a switch: docs/algorithms/ddqn.md.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from mbpo_fast.nets import QNetwork
from mbpo_fast.nets.augment import random_shift
from mbpo_fast.nets.optimizer_state import load_optimizer_state, optimizer_state
from mbpo_fast.nets.precision import Bf16, use_bf16
from mbpo_fast.ops import Stream, random_integers, random_uniform
from mbpo_fast.settings import Settings


class DDQNConfig(Settings):
    """Settings of the DDQN learner."""

    kind: Literal["ddqn"] = Field("ddqn", description="the learner")
    learning_rate: float = Field(1e-4, gt=0, description="Adam's step size")
    adam_eps: float = Field(1.5e-4, gt=0, description="Adam's epsilon")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay (AdamW)")
    max_grad_norm: float = Field(10.0, gt=0, description="gradients are clipped to this norm")
    gamma: float = Field(0.99, gt=0, le=1, description="discount of one agent step")
    n_step: int = Field(3, ge=1, le=64, description="steps of real reward before the bootstrap")
    double: bool = Field(True, description="the online network picks the action that the target values")
    dueling: bool = Field(True, description="state value plus centred advantages")
    hidden: int = Field(512, ge=1, description="width of the head's hidden layer")
    target_tau: float = Field(
        0.005, gt=0, le=1, description="share of the online weights a target update takes"
    )
    target_period: int = Field(1, ge=1, description="gradient steps between target updates")
    act_with_target: bool = Field(
        True, description="act and roll out with the target network, the smoother one"
    )
    random_shift: int = Field(
        0, ge=0, le=8, description="pixels of random shift of each sampled stack; 0: off"
    )
    bf16: Bf16 = Field(
        "auto", description="bfloat16 in all but the last layer; auto: where the hardware has it"
    )
    epsilon_start: float = Field(1.0, ge=0, le=1, description="exploration at the first step")
    epsilon_final: float = Field(0.01, ge=0, le=1, description="exploration after epsilon_steps")
    epsilon_steps: int = Field(5000, ge=1, description="agent steps of linear decay")


class TransitionBatch(Protocol):
    """The fields of `mbpo_fast.data.Batch` that a learner reads; shapes there."""

    obs: NDArray[np.uint8]
    next_obs: NDArray[np.uint8]
    action: NDArray[np.int64]
    reward: NDArray[np.float32]
    discount: NDArray[np.float32]


class DDQN:
    """A Q-learner over u8 stacks [B, S, h, w] and A discrete actions."""

    def __init__(
        self,
        config: DDQNConfig,
        *,
        stack_size: int,
        frame_shape: tuple[int, int],
        num_actions: int,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.num_actions = num_actions
        self.seed = seed
        self.device = torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.online = self._network(stack_size, frame_shape)
        self.target = self._network(stack_size, frame_shape)
        self.target.load_state_dict(self.online.state_dict())
        self.target.requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.online.parameters(),
            lr=config.learning_rate,
            eps=config.adam_eps,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.gradient_steps = 0

    def _network(self, stack_size: int, frame_shape: tuple[int, int]) -> QNetwork:
        net = QNetwork(
            stack_size,
            frame_shape,
            self.num_actions,
            hidden=self.config.hidden,
            dueling=self.config.dueling,
            bf16=use_bf16(self.config.bf16, self.device),
        )
        return net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def epsilon(self, env_steps: int) -> float:
        """Exploration rate after `env_steps` agent steps: linear, then constant."""
        config = self.config
        share = min(1.0, env_steps / config.epsilon_steps)
        return config.epsilon_start + share * (config.epsilon_final - config.epsilon_start)

    @torch.no_grad()
    def q_values(self, obs: Tensor) -> Tensor:
        """Values f32 [B, A] by the network that acts; obs u8 [B, S, h, w]."""
        q_values: Tensor = self.policy_network()(obs.to(self.device))
        return q_values

    def policy_network(self) -> QNetwork:
        """The network that acts."""
        return self.target if self.config.act_with_target else self.online

    def act(
        self, obs: NDArray[np.uint8], epsilon: float, *, seed: int, stream: Stream, step: int
    ) -> NDArray[np.int64]:
        """Epsilon-greedy actions i64 [B]; the draws depend on (seed, stream, step) and the row alone."""
        greedy = self.q_values(torch.from_numpy(obs)).argmax(dim=1).cpu().numpy()
        lanes = len(obs)
        explore = random_uniform(seed, stream, step, lanes, word=0) < epsilon
        random_actions = random_integers(seed, stream, step, lanes, self.num_actions, word=1)
        return np.where(explore, random_actions, greedy)

    def update(self, batch: TransitionBatch) -> dict[str, Tensor]:
        """One gradient step on the n-step double-Q loss; returns 0-d tensors, nothing is synchronised."""
        obs, next_obs = self._augmented(batch)
        reward, discount, action = (
            torch.from_numpy(x).to(self.device) for x in (batch.reward, batch.discount, batch.action)
        )
        target = self._td_target(next_obs, reward, discount)
        chosen = self.online(obs).gather(1, action[:, None])[:, 0]
        loss = F.smooth_l1_loss(chosen, target)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        grad_norm = torch.nn.utils.clip_grad_norm_(self.online.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        self.gradient_steps += 1
        if self.gradient_steps % self.config.target_period == 0:
            self._update_target()
        return {"loss": loss.detach(), "q_values": chosen.detach().mean(), "grad_norm": grad_norm}

    @torch.no_grad()
    def _td_target(self, next_obs: Tensor, reward: Tensor, discount: Tensor) -> Tensor:
        """Reward + discount * Q_target(next, argmax Q_online(next)), van Hasselt et al. 2016, eq. 4."""
        target_q: Tensor = self.target(next_obs)
        selector: Tensor = self.online(next_obs) if self.config.double else target_q
        best = selector.argmax(dim=1, keepdim=True)
        return reward + discount * target_q.gather(1, best)[:, 0]

    @torch.no_grad()
    def _update_target(self) -> None:
        torch._foreach_lerp_(
            list(self.target.parameters()), list(self.online.parameters()), self.config.target_tau
        )

    def _augmented(self, batch: TransitionBatch) -> tuple[Tensor, Tensor]:
        stacks = (
            torch.from_numpy(batch.obs).to(self.device),
            torch.from_numpy(batch.next_obs).to(self.device),
        )
        pad = self.config.random_shift
        if pad == 0:
            return stacks
        offsets = (
            torch.from_numpy(
                random_integers(
                    self.seed, Stream.AUGMENT, self.gradient_steps, 2 * len(batch.obs), 2 * pad + 1, word=word
                )
                - pad
            )
            for word in (0, 2)
        )
        down, right = (x.view(2, -1).to(self.device) for x in offsets)
        return random_shift(stacks[0], down[0], right[0]), random_shift(stacks[1], down[1], right[1])

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on, as tensors and plain numbers."""
        return {
            "online": self.online.state_dict(),
            "target": self.target.state_dict(),
            "optimizer": optimizer_state(self.optimizer),
            "gradient_steps": self.gradient_steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict` for an agent of the same settings."""
        self.online.load_state_dict(state["online"])
        self.target.load_state_dict(state["target"])
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.gradient_steps = int(state["gradient_steps"])

    def policy_state_dict(self) -> dict[str, Tensor]:
        """Weights of the network that acts: all that a frozen policy needs."""
        return dict(self.policy_network().state_dict())

    def load_policy_state_dict(self, weights: Mapping[str, Tensor]) -> None:
        """Inverse of `policy_state_dict`, to act and not to learn on; RuntimeError for other weights."""
        self.online.load_state_dict(weights)
        self.target.load_state_dict(weights)
