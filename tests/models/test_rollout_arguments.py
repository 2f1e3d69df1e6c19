"""What a fused rollout refuses, on the CPU and on a GPU or its emulation, and which engine is chosen."""

from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gpu_devices import device_of
from rollout_parts import ACTIONS, SIDE, agent, contexts, world

from mbpo_fast import _core
from mbpo_fast.agents import DDQN
from mbpo_fast.data import ModelBuffer
from mbpo_fast.errors import UsageError
from mbpo_fast.models import (
    FusedRolloutEngine,
    GpuRolloutEngine,
    RolloutConfig,
    WorldModel,
    make_rollout_engine,
)
from mbpo_fast.models.uncertainty import UncertaintyConfig
from mbpo_fast.nets import QNetwork
from mbpo_fast.nets.packing import pack_policy, pack_world
from mbpo_fast.ops import gpu_device
from mbpo_fast.ops.gpu_device import EmulatedDevice

MODEL = {"context": 5, "width": 8, "depth": 1, "outcome_width": 4}


def bad_call(engine: Any, **changes: Any) -> None:
    given: dict[str, Any] = {
        "start": contexts(3, 5),
        "policy": agent(),
        "model": world(2, **MODEL),
        "buffer": ModelBuffer(8, context=4, horizon=2, frame_shape=(SIDE, SIDE)),
        "horizon": 2,
        "epsilon": 0.1,
    }
    if "elites" in changes:
        given["model"].elites = changes.pop("elites")
    given |= changes
    engine.run(**given)


class Other:
    num_actions = ACTIONS

    network = torch.nn.Linear(3, 3)


def narrow_weights() -> DDQN:
    learner = agent()
    learner.network.half()
    return learner


def nan_world() -> WorldModel:
    model = world(2, **MODEL)
    with torch.no_grad():
        next(iter(model.members[1].parameters()))[0] = torch.nan
    return model


def mixed_world() -> WorldModel:
    model = world(2, **MODEL)
    model.members[1] = world(1, **(MODEL | {"depth": 2})).members[0]
    return model


def no_members() -> WorldModel:
    model = world(2, **MODEL)
    model.members = torch.nn.ModuleList()
    return model


BAD = [
    ({"start": contexts(3, 4)}, "start of the model's context 5, got 4"),
    ({"start": contexts(3, 5)[:, :, :, ::2].copy()}, "cells that tile 36x18, got 4"),
    ({"start": contexts(3, 5)[:, ::-1]}, r"start .*not contiguous"),
    ({"start": contexts(3, 5).astype(np.float32)}, r"start as a contiguous uint8 .*got float32"),
    ({"start": contexts(3, 5)[0]}, r"start u8 \[B, C, h, w\], got 3 dimensions"),
    ({"start": [1]}, "got list"),
    ({"start": torch.zeros(3, 5, SIDE, SIDE, dtype=torch.uint8)}, "got Tensor"),
    ({"start": contexts(0, 5)}, "1 to 8 branches, got 0"),
    ({"start": contexts(9, 5)}, "1 to 8 branches, got 9"),
    ({"horizon": 0}, r"1 <= horizon <= the buffer's 2, got 0"),
    ({"horizon": 3}, r"1 <= horizon <= the buffer's 2, got 3"),
    ({"epsilon": 1.5}, "0 <= epsilon <= 1, got 1.5"),
    ({"epsilon": float("nan")}, "0 <= epsilon <= 1, got nan"),
    ({"elites": []}, "at least one elite, got none"),
    ({"elites": [2]}, r"elites in \[0, 2\), got 2"),
    ({"policy": Other()}, "a policy QNetwork, PolicyNetwork or ActorCritic, got Linear"),
    ({"policy": narrow_weights()}, "float32 weights, got torch.float16"),
    ({"model": nan_world()}, "finite weights, got nan"),
    ({"model": mixed_world()}, "members of one architecture, got another one in member 1"),
    ({"model": no_members()}, "at least one member, got none"),
    (
        {"buffer": ModelBuffer(8, context=4, horizon=2, frame_shape=(SIDE, 40))},
        "a buffer of 36x36 frames",
    ),
    (
        {"buffer": ModelBuffer(8, context=6, horizon=2, frame_shape=(SIDE, SIDE))},
        "a context of at most 5",
    ),
]


@pytest.mark.parametrize("engine", ["cpu", "emulated", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_arguments(engine: str, changes: dict, message: str) -> None:
    """The same line, whatever the engine."""
    kind = {"emulated": "1"}.get(engine, engine)
    runs = FusedRolloutEngine(seed=0) if engine == "cpu" else GpuRolloutEngine(device_of(kind), seed=0)
    with pytest.raises(ValueError, match=r"^\[rollout\] expected .*" + message):
        bad_call(runs, **dict(changes))


def test_a_policy_of_other_actions_is_refused() -> None:
    model = world(1, **MODEL)
    policy = pack_policy(QNetwork(4, (SIDE, SIDE), 3), (SIDE, SIDE))
    packed = pack_world(model.members, (SIDE, SIDE), context=5, num_actions=ACTIONS)
    ring = ModelBuffer(8, context=4, horizon=2, frame_shape=(SIDE, SIDE)).ring
    with pytest.raises(ValueError, match=r"a policy of 36x36 frames and 5 actions, got 36x36, 3"):
        _core.rollout(
            policy.core,
            packed.core,
            _core.ThreadPool(1),
            contexts(2, 5),
            ring,
            horizon=1,
            epsilon=0.0,
            samples=False,
            elites=np.array([0]),
            mean=False,
            measured=False,
            changed_levels=4,
            mask_share=0.0,
            bonus=0.0,
            reward_threshold=0.5,
            end_threshold=0.5,
            seed=0,
            action_stream=6,
            member_stream=7,
            step=0,
        )
    assert ring.total == 0


def make(backend: str, model: WorldModel | None = None) -> Any:
    return make_rollout_engine(
        RolloutConfig(backend=backend),
        agent(),
        model or world(1, **MODEL),
        seed=0,
        stack_size=4,
        frame_shape=(SIDE, SIDE),
        threads=1,
    )


def test_the_backend_that_is_asked_for_is_used_or_refused() -> None:
    assert [make(name).backend for name in ("auto", "cpu", "torch")] == ["cpu", "cpu", "torch"]
    unknown = world(1, **MODEL)
    unknown.members = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    assert make("auto", unknown).description.startswith("torch ([rollout] expected a world model of")
    assert make("auto").description.startswith("fused on the CPU")
    doubtful = world(3, **MODEL, propagation="mean", uncertainty=UncertaintyConfig(bonus=0.5))
    assert make("auto", doubtful).backend == "cpu"
    assert make("auto", doubtful).propagation == "mean"
    assert make("auto", doubtful).uncertainty.bonus == 0.5
    with pytest.raises(UsageError, match=r"use torch or auto: .*ClockNet, GridNet, NatureNet, got Linear"):
        make("cpu", unknown)


def test_a_gpu_that_cannot_run_the_kernels_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old GPU or driver: `auto` goes round it, `cuda` says why, before any training."""

    def refuse(*_: object) -> None:
        raise RuntimeError("[cuda] launch: no kernel image is available for execution on the device")

    class OldDevice(gpu_device.CudaDevice):
        stream = 1
        put, empty, address = (EmulatedDevice.__dict__[name] for name in ("put", "empty", "address"))

        def current(self) -> AbstractContextManager[None]:
            return nullcontext()

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "an old GPU")
    monkeypatch.setattr(gpu_device, "load_cuda", lambda: SimpleNamespace(gather_frames=refuse))
    with pytest.raises(UsageError, match=r"capability 8.0 or newer .*, got an old GPU: .*no kernel image"):
        OldDevice()
    monkeypatch.setattr("mbpo_fast.models.backends.CudaDevice", OldDevice)
    with pytest.raises(UsageError, match=r"cuda cannot run here; use torch or auto: .*an old GPU"):
        make("cuda")
