"""The part that actor and critic networks have in common: a Nature CNN and one hidden layer."""

import torch
from torch import Tensor, nn

from mbpo_fast.nets.nature import NatureEncoder
from mbpo_fast.nets.precision import autocast


class NatureTrunk(nn.Module):
    """Hidden features f32 [B, hidden] of u8 stacks [B, S, h, w]; heads on top are the subclass's.

    `bf16` runs all of it in bfloat16; heads stay in float32, for values need more than its 8 bits.
    """

    def __init__(
        self, stack_size: int, frame_shape: tuple[int, int], *, hidden: int = 512, bf16: bool = False
    ) -> None:
        super().__init__()
        self.encoder = NatureEncoder(stack_size, frame_shape)
        self.hidden = nn.Linear(self.encoder.out_features, hidden)
        self.bf16 = bf16

    def features(self, obs: Tensor) -> Tensor:
        """The hidden layer's activations for a batch of stacks."""
        with autocast(obs.device, self.bf16):
            hidden = torch.relu(self.hidden(self.encoder(obs)))
        return hidden.float()
