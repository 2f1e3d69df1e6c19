"""Which engine imagines: on the GPU, on the CPU, or in torch."""

from functools import partial
from typing import Any, Literal

from pydantic import Field

from mbpo_fast.errors import UsageError
from mbpo_fast.models.ensemble import WorldModel
from mbpo_fast.models.fused import FusedRolloutEngine
from mbpo_fast.models.gpu_rollout import GpuRolloutEngine
from mbpo_fast.models.packed import NetworkPolicy
from mbpo_fast.models.rollout import Engine, RolloutEngine
from mbpo_fast.nets.packing import pack_policy, pack_world
from mbpo_fast.ops.gpu import CudaDevice, GpuNetwork
from mbpo_fast.settings import Settings


class RolloutConfig(Settings):
    """What imagines."""

    backend: Literal["auto", "cuda", "cpu", "torch"] = Field(
        "auto",
        description="auto: fused kernels, cuda for networks on a GPU, else cpu; torch for those that they "
        "do not know",
    )


def make_rollout_engine(
    config: RolloutConfig,
    policy: NetworkPolicy,
    model: WorldModel,
    *,
    seed: int,
    stack_size: int,
    frame_shape: tuple[int, int],
    threads: int,
) -> Engine:
    """The engine that the settings ask for; UsageError where it cannot run these networks."""
    settings, wanted = model.config, config.backend
    asked: Any = {"seed": seed, "propagation": settings.propagation, "uncertainty": settings.uncertainty}
    in_torch = partial(RolloutEngine, stack_size=stack_size, **asked)
    if wanted == "torch":
        return in_torch()
    on_gpu = wanted == "cuda" or (wanted == "auto" and model.device.type == "cuda")
    device, obstacle = None, ""
    try:
        device = CudaDevice(model.device.index) if on_gpu else None
    except UsageError as error:
        obstacle = str(error)
    obstacle = obstacle or _obstacle(policy, model, frame_shape, device)
    if obstacle and wanted != "auto":
        raise UsageError(f"rollout.backend: {wanted} cannot run here; use torch or auto: {obstacle}")
    if obstacle:
        return in_torch(reason=obstacle)
    if device is not None:
        return GpuRolloutEngine(device, **asked)
    return FusedRolloutEngine(threads=threads, **asked)


def _obstacle(
    policy: NetworkPolicy, model: WorldModel, frame_shape: tuple[int, int], device: CudaDevice | None
) -> str:
    """Why the fused kernels cannot run these networks, or nothing."""
    if device is None and model.device.type != "cpu":
        return f"[rollout] expected networks in main memory, got {model.device}"
    try:
        packed = pack_policy(policy.network, frame_shape)
        world = pack_world(
            [model.members[0]], frame_shape, context=model.config.context, num_actions=policy.num_actions
        )
        if device is not None:
            GpuNetwork(packed, device)
            GpuNetwork(world, device, predicts_frames=True)
    except ValueError as error:
        return str(error)
    return ""
