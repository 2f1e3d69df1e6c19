"""The Q-network: an encoder, a hidden layer, and Z numbers for every action."""

from typing import Literal

import torch
from torch import Tensor, nn

from mbpo_fast.nets.impala import ImpalaEncoder
from mbpo_fast.nets.nature import NatureEncoder
from mbpo_fast.nets.precision import autocast

ENCODERS: dict[str, type[NatureEncoder] | type[ImpalaEncoder]] = {
    "nature": NatureEncoder,
    "impala": ImpalaEncoder,
}


class QNetwork(nn.Module):
    """Action values f32 [B, A] of u8 stacks [B, S, h, w]; `outputs` gives the Z numbers that they come from.

    Z is 1, and the number is the value; or `atoms` numbers are logits over `support` f32 [Z], returns of a
    histogram; or, without support, they are quantiles, and the value is their mean.
    `dueling` splits the head into a state's part and centred advantages (Wang et al. 2016, eq. 9).
    `bf16` runs all but the last layer in bfloat16: values themselves need more than its 8 bits.
    """

    support: Tensor | None

    def __init__(
        self,
        stack_size: int,
        frame_shape: tuple[int, int],
        num_actions: int,
        *,
        hidden: int = 512,
        dueling: bool = True,
        bf16: bool = False,
        encoder: Literal["nature", "impala"] = "nature",
        width: float = 1.0,
        atoms: int = 1,
        support: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.num_actions, self.atoms, self.bf16 = num_actions, atoms, bf16
        self.encoder: NatureEncoder | ImpalaEncoder = ENCODERS[encoder](stack_size, frame_shape, width=width)
        features = self.encoder.out_features
        self.hidden = nn.ModuleList(nn.Linear(features, hidden) for _ in range(1 + dueling))
        self.advantage = nn.Linear(hidden, num_actions * atoms)
        self.value = nn.Linear(hidden, atoms) if dueling else None
        self.register_buffer("support", support, persistent=False)

    def forward(self, obs: Tensor) -> Tensor:
        """Values of a batch of stacks."""
        return self.expectation(self.outputs(obs))

    def outputs(self, obs: Tensor) -> Tensor:
        """f32 [B, A, Z]."""
        return self.outputs_of_prepared(self.encoder.prepare(obs))

    def outputs_of_prepared(self, prepared: Tensor) -> Tensor:
        """As `outputs`, of `encoder.prepare(obs)`."""
        return self.outputs_of_features(self.features_of_prepared(prepared))

    def features(self, obs: Tensor) -> Tensor:
        """The encoder's [B, F]."""
        return self.features_of_prepared(self.encoder.prepare(obs))

    def features_of_prepared(self, prepared: Tensor) -> Tensor:
        """As `features`, of `encoder.prepare(obs)`."""
        with autocast(prepared.device, self.bf16):
            return self.encoder.features(prepared)

    def outputs_of_features(self, features: Tensor) -> Tensor:
        """As `outputs`, of the encoder's [B, F]."""
        with autocast(features.device, self.bf16):
            hidden = [torch.relu(layer(features)) for layer in self.hidden]
        advantage: Tensor = self.advantage(hidden[0].float()).view(-1, self.num_actions, self.atoms)
        if self.value is None:
            return advantage
        centred = advantage - advantage.mean(dim=1, keepdim=True)
        outputs: Tensor = self.value(hidden[1].float())[:, None] + centred
        return outputs

    def project(self, features: Tensor) -> Tensor:
        """The head's first layer [B, hidden] of the encoder's [B, F]: what self-prediction compares."""
        projection: Tensor = self.hidden[0](features)
        return projection

    def expectation(self, outputs: Tensor) -> Tensor:
        """Mean return f32 [...] of outputs f32 [..., Z]."""
        if self.support is not None:
            return outputs.softmax(dim=-1) @ self.support
        return outputs[..., 0] if self.atoms == 1 else outputs.mean(dim=-1)
