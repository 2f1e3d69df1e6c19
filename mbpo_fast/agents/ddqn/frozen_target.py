"""Values of a target network that rests between copies, computed by the core."""

import numpy as np
import torch
from torch import Tensor

from mbpo_fast import _core
from mbpo_fast.agents.ddqn.config import DDQNConfig
from mbpo_fast.errors import UsageError
from mbpo_fast.nets import QNetwork
from mbpo_fast.nets.packing import pack_policy
from mbpo_fast.ops.network import PackedNetwork

LEAST_REST = 50
"""Gradient steps between copies from which it pays: packing takes as long as three or four passes save."""


class FrozenTarget:
    """A target network as the core runs it, packed anew when its weights have changed.

    Its products are those of the fused rollout: float32 in another order than torch's, or bfloat16.
    """

    def __init__(self, network: QNetwork, frame_shape: tuple[int, int]) -> None:
        self._network, self._frame_shape = network, frame_shape
        self._pool: _core.ThreadPool | None = None
        self._packed: tuple[tuple[int, ...], PackedNetwork] | None = None

    def __call__(self, obs: Tensor) -> Tensor:
        """Values f32 [B, A] of stacks u8 [B, S, h, w] in main memory.

        UsageError where a weight is no longer finite.
        """
        versions = tuple(weight._version for weight in self._network.parameters())
        if self._packed is None or self._packed[0] != versions:
            self._packed = versions, self._pack()
        self._pool = self._pool or _core.ThreadPool(torch.get_num_threads())
        rows = np.zeros(len(obs), np.int64)
        (values,) = self._packed[1](obs.contiguous().numpy(), rows, rows, self._pool)
        return torch.from_numpy(values[:, 0, 0])

    def _pack(self) -> PackedNetwork:
        if not all(bool(weight.isfinite().all()) for weight in self._network.parameters()):
            raise UsageError(
                "agent: expected finite weights, got others in the target network: training has diverged; "
                "a smaller agent.learning_rate may help"
            )
        return pack_policy(self._network, self._frame_shape)


def pays(config: DDQNConfig, network: QNetwork, device: torch.device) -> bool:
    """Whether the core is faster than torch at this target: on a CPU, seldom copied, one value an action."""
    rests = config.target_tau == 1.0 and config.target_period >= LEAST_REST
    multiplies = not network.bf16 or _core.has_fast_bf16()
    return device.type == "cpu" and rests and multiplies and config.distribution == "none"
