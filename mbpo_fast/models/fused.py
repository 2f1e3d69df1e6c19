"""The fused rollout: policy, ensemble and model buffer in one call of the core, without torch."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mbpo_fast import _core
from mbpo_fast.models.ensemble import WorldModel
from mbpo_fast.models.losses import CHANGED_LEVELS
from mbpo_fast.models.packed import NetworkPolicy, RolloutNetworks
from mbpo_fast.models.rollout import Propagation
from mbpo_fast.models.uncertainty import UncertaintyConfig
from mbpo_fast.nets.packing import samples_actions
from mbpo_fast.ops import Stream
from mbpo_fast.ops.network import PackedNetwork


class RingBuffer(Protocol):
    """The part of `mbpo_fast.data.ModelBuffer` that a fused rollout writes."""

    @property
    def ring(self) -> _core.BranchRing:
        """The core's memory."""


class FusedRolloutEngine:
    """`RolloutEngine` on the core, with the same draws.

    Networks in bfloat16 are multiplied so where the processor is fast at it, all others in float32.
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
        instructions = _core.isa() + ", bfloat16 for networks in it" * _core.has_fast_bf16()
        self.description = f"fused on the CPU ({instructions}, threads: {threads})"
        self._pool = _core.ThreadPool(threads)
        self._networks: RolloutNetworks[PackedNetwork] = RolloutNetworks(_as_it_is, _as_it_is)

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
        if not isinstance(start, np.ndarray):
            raise ValueError(f"[rollout] expected start u8 [B, C, h, w], got {type(start).__name__}")
        packed_policy, packed_world = self._networks.get(start.shape, policy, model)
        written, steps, imagined, doubt = _core.rollout(
            packed_policy.core,
            packed_world.core,
            self._pool,
            start,
            buffer.ring,
            horizon=horizon,
            epsilon=epsilon,
            **rollout_settings(self, policy, model),
        )
        self.steps += steps
        if self.uncertainty.enabled:
            self.metrics = doubt_metrics(doubt, imagined, written)
        return written


class SettledEngine(Protocol):
    """The settings that both fused engines have."""

    seed: int
    steps: int
    propagation: Propagation
    uncertainty: UncertaintyConfig


def rollout_settings(engine: SettledEngine, policy: NetworkPolicy, model: WorldModel) -> dict[str, Any]:
    """What the core's rollouts are told beside the networks, the start and the lengths."""
    return {
        "samples": samples_actions(policy.network),
        "elites": np.asarray(model.elites, np.int64),
        "mean": engine.propagation == "mean",
        "measured": engine.uncertainty.enabled,
        "changed_levels": CHANGED_LEVELS,
        "mask_share": engine.uncertainty.mask_share,
        "bonus": engine.uncertainty.bonus,
        "reward_threshold": model.reward_threshold,
        "end_threshold": model.end_threshold,
        "seed": engine.seed,
        "action_stream": int(Stream.ROLLOUT_ACTION),
        "member_stream": int(Stream.ROLLOUT_MEMBER),
        "step": engine.steps,
    }


def doubt_metrics(doubt: float, imagined: int, written: int) -> dict[str, float]:
    """The mean of the disagreements that add up to `doubt`, and the share of imagined rows not written."""
    return {"disagreement": doubt / imagined, "masked_share": 1.0 - written / imagined}


def _as_it_is(packed: PackedNetwork) -> PackedNetwork:
    return packed
