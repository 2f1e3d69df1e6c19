"""The fused rollout on a GPU, behind the same contract as the one on the CPU."""

from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mbpo_fast import _core
from mbpo_fast.models.ensemble import WorldModel
from mbpo_fast.models.fused import doubt_metrics, rollout_settings
from mbpo_fast.models.packed import NetworkPolicy, RolloutNetworks
from mbpo_fast.models.rollout import Propagation
from mbpo_fast.models.uncertainty import UncertaintyConfig
from mbpo_fast.ops.gpu import GpuBranches, GpuNetwork, rollout
from mbpo_fast.ops.gpu_device import Device


class GpuBuffer(Protocol):
    """The part of `mbpo_fast.data.ModelBuffer` that a rollout on a GPU writes."""

    @property
    def ring(self) -> _core.BranchRing:
        """The core's memory."""

    @property
    def branches(self) -> GpuBranches | None:
        """The buffer's own memory on the device; None: its frames lie in main memory."""

    def adopt(self, rows: int) -> None:
        """Take over what a rollout has written there."""


class GpuRolloutEngine:
    """`RolloutEngine` on a GPU: the same draws, bfloat16 products and float32 sums.

    With a buffer on the device frames never leave it; else start frames cross to it, and branches back.
    """

    backend = "cuda"

    def __init__(
        self,
        device: Device,
        *,
        seed: int,
        propagation: Propagation = "member",
        uncertainty: UncertaintyConfig | None = None,
    ) -> None:
        self.seed = seed
        self.propagation = propagation
        self.uncertainty = uncertainty or UncertaintyConfig()
        self.steps = 0
        self.metrics: dict[str, float] = {}
        self.description = f"fused on the GPU ({device.description})"
        self._device = device
        self._networks: RolloutNetworks[GpuNetwork] = RolloutNetworks(
            partial(GpuNetwork, device=device), partial(GpuNetwork, device=device, predicts_frames=True)
        )

    def run(
        self,
        start: Any,
        policy: NetworkPolicy,
        model: WorldModel,
        buffer: GpuBuffer,
        *,
        horizon: int,
        epsilon: float,
    ) -> int:
        """See `FusedRolloutEngine.run`; `start` may lie on the device already."""
        if not isinstance(start, np.ndarray) and not self._device.holds(start):
            raise ValueError(f"[rollout] expected start u8 [B, C, h, w], got {type(start).__name__}")
        if isinstance(start, np.ndarray) and not start.flags.c_contiguous:
            raise ValueError("[rollout] expected start as a contiguous array, got one that is not contiguous")
        loaded_policy, loaded_world = self._networks.get(tuple(start.shape), policy, model)
        ring, rows = buffer.ring, len(start)
        branches, first = buffer.branches, ring.total % ring.capacity
        if branches is None:
            branches, first = self._passing_branches(rows, ring), 0
        rollout(
            loaded_policy,
            loaded_world,
            self._device.put(start),
            branches,
            first=first,
            horizon=horizon,
            epsilon=epsilon,
            settings=rollout_settings(self, policy, model),
        )
        if buffer.branches is None:
            ring.import_branches(branches.export(first, rows), ring.total)
        else:
            buffer.adopt(rows)
        return self._note(branches, first, rows)

    def _passing_branches(self, rows: int, ring: _core.BranchRing) -> GpuBranches:
        """Memory for branches on their way to a ring in main memory."""
        return GpuBranches(
            self._device,
            rows,
            capacity=ring.capacity,
            context=ring.context,
            horizon=ring.horizon,
            frame_shape=(ring.height, ring.width),
        )

    def _note(self, branches: GpuBranches, first: int, rows: int) -> int:
        """Counts the steps and what the elites thought of them; returns the number of transitions."""
        length: NDArray[np.int32] = branches.rows("length", first, rows)
        written = int(length.sum())
        self.steps += int(length.max())
        if self.uncertainty.enabled:
            doubt = branches.rows("doubt", first, rows)
            imagined = doubt[doubt >= 0]
            self.metrics = doubt_metrics(float(imagined.sum(dtype=np.float64)), imagined.size, written)
        return written
