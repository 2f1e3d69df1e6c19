"""The policy network of actor-critic learners: a Nature CNN with a softmax on top."""

import torch
from torch import Tensor, nn

from mbpo_fast.nets.trunk import NatureTrunk


class PolicyNetwork(NatureTrunk):
    """Log-probabilities f32 [B, A] of the actions for u8 stacks [B, S, h, w].

    A fresh policy is uniform: its last layer is zero. `bf16` runs all but that layer in bfloat16.
    """

    def __init__(
        self,
        stack_size: int,
        frame_shape: tuple[int, int],
        num_actions: int,
        *,
        hidden: int = 512,
        bf16: bool = False,
    ) -> None:
        super().__init__(stack_size, frame_shape, hidden=hidden, bf16=bf16)
        self.logits = nn.Linear(hidden, num_actions)
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    def forward(self, obs: Tensor) -> Tensor:
        """Log-probabilities for a batch of stacks."""
        return torch.log_softmax(self.logits(self.features(obs)), dim=1)
