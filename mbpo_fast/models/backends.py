"""Which engine imagines: on the GPU, on the CPU, or in torch."""

from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mbpo_fast.errors import UsageError
from mbpo_fast.models.ensemble import WorldModel
from mbpo_fast.models.fused import FusedRolloutEngine
from mbpo_fast.models.gpu_rollout import GpuRolloutEngine
from mbpo_fast.models.packed import NetworkPolicy
from mbpo_fast.models.rollout import BranchBuffer, Engine, RolloutEngine
from mbpo_fast.nets.packing import pack_policy, pack_world
from mbpo_fast.ops.gpu import GpuNetwork
from mbpo_fast.ops.gpu_device import CudaDevice
from mbpo_fast.settings import Settings

Backend = Literal["auto", "cuda", "cpu", "torch"]


class RolloutConfig(Settings):
    """What imagines."""

    backend: Backend = Field(
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


def rollout(
    start: NDArray[np.uint8],
    policy: NetworkPolicy,
    model: WorldModel,
    buffer: BranchBuffer,
    *,
    horizon: int,
    epsilon: float = 0.0,
    seed: int = 0,
    threads: int = 1,
    backend: Backend = "auto",
) -> int:
    """Imagine branches of at most `horizon` steps from real frames into a model buffer.

    Each step of a branch: the policy's action (a share `epsilon` at random) on its newest frames, an elite of
    the model drawn at random, the frame, reward and end that this elite predicts; a predicted end stops the
    branch (Janner et al. 2019, algorithm 2, lines 7 to 9).

    Args:
        start: The newest frames, u8 [B, C, h, w]; C is the model's context.
        policy: An agent such as `mbpo_fast.agents.DDQN`.
        model: The ensemble.
        buffer: A `ModelBuffer` with room for B branches of `horizon` steps.
        horizon: Steps of a branch, at least 1.
        epsilon: Share of random actions, 0 to 1.
        seed: Root of the draws; the same for every backend.
        threads: CPU threads of the backend `cpu`.
        backend: As the setting `rollout.backend`.

    Returns:
        The number of transitions written.

    Raises:
        ValueError: A part does not fit another one: `[rollout] expected ..., got ...`.
        UsageError: The backend cannot run these networks here.

    """
    engine = make_rollout_engine(
        RolloutConfig(backend=backend),
        policy,
        model,
        seed=seed,
        stack_size=buffer.context,
        frame_shape=np.shape(start)[-2:],
        threads=threads,
    )
    return engine.run(start, policy, model, buffer, horizon=horizon, epsilon=epsilon)


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
    except (ValueError, RuntimeError) as error:  # a network that does not fit, or the GPU's memory
        return str(error)
    return ""
