"""What is learned of a return: its mean, a histogram (C51) or its quantiles; targets and losses of each.

Z numbers an action: 1, the histogram's bins, or the quantiles. `target` builds what a row should have been,
`compare` says how far it was from that; importance weights and the mean over rows are the agent's.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mbpo_fast.agents.ddqn.config import DDQNConfig


class ValueLoss(Protocol):
    """Target and loss of one form of values."""

    def target(self, following: Tensor, reward: Tensor, discount: Tensor) -> Tensor:
        """[B, Z] from the next state's chosen outputs f32 [B, Z], rewards f32 [B] and discounts f32 [B]."""

    def compare(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Loss f32 [B] of the online network's outputs [B, Z], and each row's priority, f32 [B] >= 0."""


class MeanLoss:
    """The expected return with Huber's loss; Z = 1."""

    def target(self, following: Tensor, reward: Tensor, discount: Tensor) -> Tensor:
        """Reward + discount * value."""
        return (reward + discount * following[:, 0])[:, None]

    def compare(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Huber's loss, whose gradient is the clipped error of Mnih et al. 2015; the absolute TD error."""
        row_loss = F.smooth_l1_loss(output, target, reduction="none")[:, 0]
        return row_loss, (output.detach() - target).abs_()[:, 0]


class CategoricalLoss:
    """Probabilities of returns on a fixed grid (C51: Bellemare, Dabney and Munos 2017), as logits."""

    def __init__(self, support: Tensor) -> None:
        self.support = support
        self.low, self.high = float(support[0]), float(support[-1])
        self.gap = (self.high - self.low) / (len(support) - 1)
        self.index = torch.arange(len(support), device=support.device, dtype=torch.float32)

    def target(self, following: Tensor, reward: Tensor, discount: Tensor) -> Tensor:
        """The next state's histogram, shrunk and shifted, on the grid again (algorithm 1)."""
        moved = reward[:, None] + discount[:, None] * self.support
        place = (moved.clamp_(self.low, self.high) - self.low) / self.gap
        # Each bin gives to the two grid points around its place what is 1 - distance near: no scatter.
        share = (1.0 - (place[:, None, :] - self.index[:, None]).abs_()).clamp_(min=0.0)
        return torch.bmm(share, following.softmax(dim=1)[:, :, None])[:, :, 0]

    def compare(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy, which is the priority too (Hessel et al. 2018, as in Dopamine)."""
        row_loss = -(target * output.log_softmax(dim=1)).sum(dim=1)
        return row_loss, row_loss.detach()


class QuantileLoss:
    """Quantiles of the return at (2 i + 1) / 2 Z (QR-DQN: Dabney, Rowland, Bellemare and Munos 2018)."""

    def __init__(self, quantiles: int, device: torch.device) -> None:
        self.levels = (torch.arange(quantiles, device=device, dtype=torch.float32) + 0.5) / quantiles

    def target(self, following: Tensor, reward: Tensor, discount: Tensor) -> Tensor:
        """Every quantile, shrunk and shifted."""
        return reward[:, None] + discount[:, None] * following

    def compare(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Quantile Huber loss with kappa 1, eq. 10: sum over the outputs, mean over the targets."""
        error = target[:, None, :] - output[:, :, None]
        size = error.detach().abs()
        huber = torch.where(size <= 1.0, 0.5 * error.square(), error.abs() - 0.5)
        below = (error.detach() < 0).to(torch.float32)
        row_loss = ((self.levels[:, None] - below).abs() * huber).mean(dim=2).sum(dim=1)
        return row_loss, row_loss.detach()


def value_loss(config: DDQNConfig, support: Tensor | None, device: torch.device) -> ValueLoss:
    """The form that `config.distribution` names; `support` f32 [Z] is c51's grid."""
    if support is not None:
        return CategoricalLoss(support)
    return QuantileLoss(config.atoms, device) if config.distribution == "quantile" else MeanLoss()
