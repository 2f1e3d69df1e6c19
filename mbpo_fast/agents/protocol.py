"""What agents offer: to the loops, to evaluation and to whoever saves a policy."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mbpo_fast.ops import Stream


class Agent(Protocol):
    """A learner over u8 stacks [B, S, h, w] and A discrete actions."""

    frame_shape: tuple[int, int]
    num_actions: int
    gradient_steps: int

    @property
    def network(self) -> nn.Module:
        """The network that acts."""

    def act(
        self, obs: NDArray[np.uint8], epsilon: float, *, seed: int, stream: Stream, step: int
    ) -> NDArray[np.int64]:
        """Actions i64 [B], a share of `epsilon` of them uniform; draws by (seed, stream, step) and row."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on, as tensors and plain numbers."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict` for an agent of the same settings."""

    def policy_state_dict(self) -> dict[str, Tensor]:
        """Weights of the network that acts: all that a frozen policy needs."""

    def load_policy_state_dict(self, weights: Mapping[str, Tensor]) -> None:
        """Inverse of `policy_state_dict`, to act and not to learn on; RuntimeError for other weights."""


class Futures(Protocol):
    """The fields of `mbpo_fast.data.Futures`; shapes there."""

    action: NDArray[np.int64]
    stacks: NDArray[np.uint8] | Tensor
    alive: NDArray[np.bool_]


class TransitionBatch(Protocol):
    """The fields of `mbpo_fast.data.Batch` that a learner reads; shapes there.

    Frames may lie on a device already.
    """

    obs: NDArray[np.uint8] | Tensor
    next_obs: NDArray[np.uint8] | Tensor
    action: NDArray[np.int64]
    reward: NDArray[np.float32]
    discount: NDArray[np.float32]
    weight: NDArray[np.float32]

    @property
    def futures(self) -> Futures | None:
        """The steps after the first rows, where `future_steps` asked for them."""


class OffPolicyAgent(Agent, Protocol):
    """An agent that learns from transitions of any policy: real, old or imagined."""

    priorities: Tensor | None
    """How surprising each row of the last batch was, f32 [B], for prioritised replay; None: not asked for."""

    @property
    def n_step(self) -> int:
        """Steps of real reward in the returns that the next update wants."""

    @property
    def gamma(self) -> float:
        """Discount of one agent step that the next update wants."""

    @property
    def future_steps(self) -> int:
        """Steps after each real row that the next update wants to see too."""

    def epsilon(self, env_steps: int) -> float:
        """Share of random actions after `env_steps` agent steps of learning."""

    def update(self, batch: TransitionBatch) -> dict[str, Tensor]:
        """One gradient step; 0-d tensors to log."""
