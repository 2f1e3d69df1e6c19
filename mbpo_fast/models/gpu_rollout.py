"""The fused rollout on a GPU, behind the same contract as the one on the CPU."""

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.models.ensemble import WorldModel
from mbpo_fast.models.fused import NetworkPolicy, RingBuffer, pack_parts
from mbpo_fast.nets.packing import samples_actions
from mbpo_fast.ops import Stream
from mbpo_fast.ops.gpu import Device, GpuBranches, GpuNetwork, rollout


class GpuRolloutEngine:
    """`RolloutEngine` on a GPU: the same draws, bfloat16 products and float32 sums.

    The buffer is in main memory: start frames cross to the device, branches cross back.
    """

    backend = "cuda"

    def __init__(self, device: Device, *, seed: int) -> None:
        self.seed = seed
        self.steps = 0
        self.metrics: dict[str, float] = {}
        self.description = f"fused on the GPU ({device.description})"
        self._device = device

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
        """See `FusedRolloutEngine.run`."""
        packed_policy, packed_world = pack_parts(start, policy, model)
        device, ring, rows = self._device, buffer.ring, len(start)
        branches = GpuBranches(
            device,
            rows,
            capacity=ring.capacity,
            context=ring.context,
            horizon=ring.horizon,
            frame_shape=(ring.height, ring.width),
        )
        rollout(
            GpuNetwork(packed_policy, device),
            GpuNetwork(packed_world, device, predicts_frames=True),
            device.put(start),
            branches,
            first=0,
            horizon=horizon,
            epsilon=epsilon,
            samples=samples_actions(policy.network),
            elites=model.elites,
            thresholds=(model.reward_threshold, model.end_threshold),
            draws={
                "seed": self.seed,
                "action_stream": int(Stream.ROLLOUT_ACTION),
                "member_stream": int(Stream.ROLLOUT_MEMBER),
                "step": self.steps,
            },
        )
        arrays = branches.export()
        length = arrays["length"]
        ring.import_branches(arrays, ring.total)
        self.steps += int(length.max())
        return int(length.sum())
