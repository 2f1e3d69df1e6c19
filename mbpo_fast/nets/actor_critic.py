"""Policy and value on one shared Nature CNN, as PPO has them on Atari (Schulman et al. 2017)."""

from math import sqrt

from torch import Tensor, nn

from mbpo_fast.nets.trunk import NatureTrunk


class ActorCritic(NatureTrunk):
    """Logits f32 [B, A] and state values f32 [B] of u8 stacks [B, S, h, w].

    Weights begin orthogonal, gain sqrt(2), 0.01 for the policy's last layer and 1 for the value's; biases 0.
    `bf16` runs all but the two last layers in bfloat16.
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
        self.policy = nn.Linear(hidden, num_actions)
        self.value = nn.Linear(hidden, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                _orthogonal(module, sqrt(2))
        _orthogonal(self.policy, 0.01)
        _orthogonal(self.value, 1.0)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and values of a batch of stacks."""
        features = self.features(obs)
        return self.policy(features), self.value(features)[:, 0]


def _orthogonal(layer: nn.Conv2d | nn.Linear, gain: float) -> None:
    nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
