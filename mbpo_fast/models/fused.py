"""The fused rollout: policy, ensemble and model buffer in one call of the core, without torch."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mbpo_fast import _core
from mbpo_fast.models.ensemble import WorldModel
from mbpo_fast.models.losses import CHANGED_LEVELS
from mbpo_fast.models.rollout import Propagation
from mbpo_fast.models.uncertainty import UncertaintyConfig
from mbpo_fast.nets.packing import pack_policy, pack_world, samples_actions
from mbpo_fast.ops import Stream
from mbpo_fast.ops.network import PackedNetwork


class NetworkPolicy(Protocol):
    """What a fused rollout asks of an agent."""

    num_actions: int

    @property
    def network(self) -> nn.Module:
        """The network that acts."""


class RingBuffer(Protocol):
    """The part of `mbpo_fast.data.ModelBuffer` that a fused rollout writes."""

    @property
    def ring(self) -> _core.BranchRing:
        """The core's memory."""


class FusedRolloutEngine:
    """`RolloutEngine` on the core: the same draws, float32 arithmetic whatever the networks train in.

    Networks are packed anew for every run, for they learn between runs.
    """

    backend = "cpu"

    def __init__(
        self,
        *,
        seed: int,
        threads: int = 1,
        propagation: Propagation = "member",
        uncertainty: UncertaintyConfig | None = None,
    ) -> None:
        self.seed = seed
        self.propagation = propagation
        self.uncertainty = uncertainty or UncertaintyConfig()
        self.steps = 0
        self.metrics: dict[str, float] = {}
        self.description = f"fused on the CPU ({_core.isa()}, threads: {threads})"
        self._pool = _core.ThreadPool(threads)

    def run(
        self,
        start: NDArray[np.uint8],
        policy: NetworkPolicy,
        model: WorldModel,
        buffer: RingBuffer,
        *,
        horizon: int,
        epsilon: float,
    ) -> int:
        """Roll B branches of at most `horizon` steps from start u8 [B, C, h, w] into `buffer`.

        As `RolloutEngine.run`. ValueError where a part does not fit another one.
        """
        packed_policy, packed_world = pack_parts(start, policy, model)
        written, steps, imagined, doubt = _core.rollout(
            packed_policy.core,
            packed_world.core,
            self._pool,
            start,
            buffer.ring,
            horizon=horizon,
            epsilon=epsilon,
            samples=samples_actions(policy.network),
            elites=np.asarray(model.elites, np.int64),
            mean=self.propagation == "mean",
            measured=self.uncertainty.enabled,
            changed_levels=CHANGED_LEVELS,
            mask_share=self.uncertainty.mask_share,
            bonus=self.uncertainty.bonus,
            reward_threshold=model.reward_threshold,
            end_threshold=model.end_threshold,
            seed=self.seed,
            action_stream=Stream.ROLLOUT_ACTION,
            member_stream=Stream.ROLLOUT_MEMBER,
            step=self.steps,
        )
        self.steps += steps
        if self.uncertainty.enabled:
            self.metrics = {"disagreement": doubt / imagined, "masked_share": 1.0 - written / imagined}
        return written


def pack_parts(
    start: NDArray[np.uint8], policy: NetworkPolicy, model: WorldModel
) -> tuple[PackedNetwork, PackedNetwork]:
    """The networks of a rollout from start u8 [B, C, h, w]. ValueError where one does not fit."""
    if not isinstance(start, np.ndarray) or start.ndim != 4:
        got = f"{start.ndim} dimensions" if isinstance(start, np.ndarray) else type(start).__name__
        raise ValueError(f"[rollout] expected start u8 [B, C, h, w], got {got}")
    shape, context = (start.shape[2], start.shape[3]), start.shape[1]
    world = pack_world(model.members, shape, context=context, num_actions=policy.num_actions)
    return pack_policy(policy.network, shape), world
