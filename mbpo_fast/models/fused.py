"""The fused rollout: policy, ensemble and model buffer in one call of the core, without torch."""

from collections.abc import Iterable
from functools import partial
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from mbpo_fast import _core
from mbpo_fast.errors import UsageError
from mbpo_fast.models.ensemble import WorldModel
from mbpo_fast.models.rollout import Engine, RolloutEngine
from mbpo_fast.nets.packing import pack_policy, pack_world, samples_actions
from mbpo_fast.ops import Stream
from mbpo_fast.settings import Settings


class RolloutConfig(Settings):
    """What imagines."""

    backend: Literal["auto", "cuda", "cpu", "torch"] = Field(
        "auto", description="auto: cpu, the fused kernel, where it knows the networks, else torch"
    )


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

    def __init__(self, *, seed: int, threads: int = 1) -> None:
        self.seed = seed
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

        A branch stops at its predicted end; each step of each row is run by one elite drawn anew.
        Returns the number of transitions written. ValueError where a part does not fit another one.
        """
        if not isinstance(start, np.ndarray) or start.ndim != 4:
            got = f"{start.ndim} dimensions" if isinstance(start, np.ndarray) else type(start).__name__
            raise ValueError(f"[rollout] expected start u8 [B, C, h, w], got {got}")
        height, width = start.shape[2:]
        transitions, steps = _core.rollout(
            pack_policy(policy.network, (height, width)).core,
            pack_world(
                model.members, (height, width), context=start.shape[1], num_actions=policy.num_actions
            ).core,
            self._pool,
            start,
            buffer.ring,
            horizon=horizon,
            epsilon=epsilon,
            samples=samples_actions(policy.network),
            elites=np.asarray(model.elites, np.int64),
            reward_threshold=model.reward_threshold,
            end_threshold=model.end_threshold,
            seed=self.seed,
            action_stream=Stream.ROLLOUT_ACTION,
            member_stream=Stream.ROLLOUT_MEMBER,
            step=self.steps,
        )
        self.steps += steps
        return transitions


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
    if config.backend == "cuda":
        raise UsageError(
            "rollout.backend: expected an engine of this build, got cuda; use cpu, torch or auto"
        )
    settings = model.config
    in_torch = partial(
        RolloutEngine,
        seed=seed,
        stack_size=stack_size,
        propagation=settings.propagation,
        uncertainty=settings.uncertainty,
    )
    if config.backend == "torch":
        return in_torch()
    obstacle = _obstacle(policy, [model.members[0]], frame_shape, model)
    if config.backend == "cpu" and obstacle:
        raise UsageError(f"rollout.backend: cpu cannot run these networks; use torch or auto: {obstacle}")
    if obstacle:
        return in_torch(reason=obstacle)
    return FusedRolloutEngine(seed=seed, threads=threads)


def _obstacle(
    policy: NetworkPolicy, members: Iterable[nn.Module], frame_shape: tuple[int, int], model: WorldModel
) -> str:
    """Why the core cannot run these networks, or nothing."""
    if model.device.type != "cpu":
        return f"[rollout] expected networks in main memory, got {model.device}"
    if model.config.propagation == "mean" or model.config.uncertainty.enabled:
        return "[rollout] expected one member a row, got settings that ask all of them"
    try:
        pack_policy(policy.network, frame_shape)
        pack_world(members, frame_shape, context=model.config.context, num_actions=policy.num_actions)
    except ValueError as error:
        return str(error)
    return ""
