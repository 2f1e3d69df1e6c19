"""Values of a target network that rests between copies, computed by the core."""

import numpy as np
import torch
from torch import Tensor

from mbpo_fast import _core
from mbpo_fast.agents.ddqn.config import DDQNConfig
from mbpo_fast.nets import QNetwork
from mbpo_fast.nets.packing import pack_policy
from mbpo_fast.ops.network import PackedNetwork

LEAST_REST = 50
"""Gradient steps between copies from which it pays: packing takes as long as three or four passes save."""


class FrozenTarget:
    """A target network as the core runs it, packed anew when its weights have changed.

    Its products are those of the fused rollout, so values differ from torch's by the order of float32 sums.
    """

    def __init__(self, network: QNetwork, frame_shape: tuple[int, int]) -> None:
        self._network, self._frame_shape = network, frame_shape
        self._pool = _core.ThreadPool(torch.get_num_threads())
        self._packed: tuple[tuple[int, ...], PackedNetwork] | None = None

    def __call__(self, obs: Tensor) -> Tensor:
        """Values f32 [B, A] of stacks u8 [B, S, h, w] in main memory."""
        versions = tuple(weight._version for weight in self._network.parameters())
        if self._packed is None or self._packed[0] != versions:
            self._packed = versions, pack_policy(self._network, self._frame_shape)
        rows = np.zeros(len(obs), np.int64)
        (values,) = self._packed[1](obs.contiguous().numpy(), rows, rows, self._pool)
        return torch.from_numpy(values[:, 0, 0])


def pays(config: DDQNConfig, network: QNetwork, device: torch.device) -> bool:
    """Whether the core is faster than torch at this target: on a CPU, seldom copied, one value an action."""
    rests = config.target_tau == 1.0 and config.target_period >= LEAST_REST
    multiplies = not network.bf16 or _core.has_fast_bf16()
    return device.type == "cpu" and rests and multiplies and config.distribution == "none"
