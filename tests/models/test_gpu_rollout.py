"""Rollouts on a GPU, and in its emulation, beside torch and beside the CPU's kernels."""

from typing import Any

import numpy as np
import pytest
import torch
from gpu_devices import ONE_DEVICE
from rollout_parts import POLICIES, SIDE, agent, contexts, policy_agent, world

from mbpo_fast.data import ModelBuffer
from mbpo_fast.errors import UsageError
from mbpo_fast.models import (
    FusedRolloutEngine,
    GpuRolloutEngine,
    RolloutConfig,
    RolloutEngine,
    WorldModel,
    make_rollout_engine,
)
from mbpo_fast.nets.packing import pack_policy
from mbpo_fast.ops import gpu_device
from mbpo_fast.ops.gpu import GpuNetwork
from mbpo_fast.ops.gpu_device import CudaDevice, Device

pytestmark = ONE_DEVICE

# bfloat16 products, of random networks that change half of the pixels by up to 255 levels.
DIFFER, DIFFER_MORE = 0.1, 3e-3
CLOSE = 0.03
SMALL: dict[str, Any] = {"context": 5, "width": 16, "depth": 1, "outcome_width": 8}


def roll_out(
    engine: Any, model: WorldModel, rows: int, horizon: int, *, side: int = SIDE, epsilon: float = 1.0
) -> tuple[dict[str, np.ndarray], int]:
    buffer = ModelBuffer(4 * rows, context=4, horizon=15, frame_shape=(side, side))
    start = contexts(rows, model.config.context, side)
    written = engine.run(start, agent(side), model, buffer, horizon=horizon, epsilon=epsilon)
    assert written == buffer.num_transitions
    return buffer.export(0, rows), engine.steps


def check_step(device: Device, model: WorldModel, rows: int, side: int = SIDE) -> None:
    ours, steps = roll_out(GpuRolloutEngine(device, seed=3), model, rows, 1, side=side)
    spec, spec_steps = roll_out(RolloutEngine(seed=3), model, rows, 1, side=side)
    assert steps == spec_steps == 1
    for name in ("action", "member", "length"):
        assert np.array_equal(ours[name], spec[name]), name
    assert np.array_equal(ours["frame"][:, :4], spec["frame"][:, :4])
    frame, expected = ours["frame"][:, 4].astype(int), spec["frame"][:, 4].astype(int)
    assert (expected != spec["frame"][:, 3]).mean() > 0.02, "the step changes something"
    apart = np.abs(frame - expected)
    assert (apart > 0).mean() <= DIFFER
    assert (apart > 1).mean() <= DIFFER_MORE
    check_decisions(model, ours, spec, side)


def check_decisions(model: WorldModel, ours: dict, spec: dict, side: int) -> None:
    start = contexts(len(ours["length"]), model.config.context, side)
    for row, (action, member) in enumerate(zip(spec["action"][:, 0], spec["member"][:, 0], strict=True)):
        said = model.predict(torch.from_numpy(start[row : row + 1]), torch.tensor([action]), int(member))
        probs, end = said[1][0].numpy(), float(said[2][0])
        near = abs(1 - probs[1] - model.reward_threshold) < CLOSE or abs(probs[2] - probs[0]) < CLOSE
        assert near or ours["reward"][row, 0] == spec["reward"][row, 0]
        assert (
            abs(end - model.end_threshold) < CLOSE or ours["terminated"][row, 0] == spec["terminated"][row, 0]
        )


@pytest.mark.parametrize("members", [1, 2, 5, 7])
@pytest.mark.parametrize("rows", [1, 13])
def test_a_step_equals_torch_for_every_ensemble(device: Device, members: int, rows: int) -> None:
    check_step(device, world(members, **SMALL), rows)


@pytest.mark.parametrize(
    "settings",
    [
        {"arch": "clock", "context": 36},
        {"arch": "clock", "context": 5, "width": 40, "depth": 3, "outcome_width": 20},
        {"arch": "clock", "context": 12, "width": 8, "depth": 1},
        {},
        {"context": 12, "width": 64, "depth": 3},
        {"arch": "nature", "context": 4, "fc_dim": 300},
        {"arch": "nature", "context": 9},
    ],
    ids=["default", "clock-wide", "clock-narrow", "grid", "grid-wide", "nature", "nature-9"],
)
def test_a_step_equals_torch_for_every_architecture(device: Device, settings: dict) -> None:
    check_step(device, world(2, side=84, **settings), 2, side=84)


@pytest.mark.parametrize("side", [36, 84])
@pytest.mark.parametrize("name", POLICIES)
def test_policies_equal_torch(device: Device, name: str, side: int) -> None:
    learner = policy_agent(name, side)
    packed = pack_policy(learner.network, (side, side))
    rows = contexts(3, 4, side), *np.zeros((2, 3), np.int64)
    spec = packed(*rows)[0]
    assert np.linalg.norm(GpuNetwork(packed, device)(*rows)[0] - spec) < 0.02 * np.linalg.norm(spec)


@pytest.mark.parametrize("name", ["dueling", "c51", "sac"])
def test_actions_equal_the_cpus(device: Device, name: str) -> None:
    learner, model = policy_agent(name, SIDE), world(1, **SMALL)
    start = contexts(60, 5)
    seen, actions = np.ascontiguousarray(start[:, 1:]), []
    values = pack_policy(learner.network, (SIDE, SIDE))(seen, *np.zeros((2, 60), np.int64))[0]
    for engine in (GpuRolloutEngine(device, seed=3), FusedRolloutEngine(seed=3)):
        buffer = ModelBuffer(60, context=4, horizon=1, frame_shape=(SIDE, SIDE))
        engine.run(start, learner, model, buffer, horizon=1, epsilon=0.3)
        actions.append(buffer.export(0, 60)["action"][:, 0])
    best = np.sort(values[:, 0, 0], axis=1)
    close = best[:, -1] - best[:, -2] < CLOSE * np.abs(best).max()
    if name == "sac":
        assert (actions[0] != actions[1]).mean() < 0.1  # a draw near the edge between two actions
    else:
        assert ((actions[0] == actions[1]) | close).all()


@pytest.mark.parametrize("horizon", [1, 2, 5, 15])
def test_drift_over_many_steps(device: Device, horizon: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Printed, not asserted, but for the draws: a gray level apart may grow."""
    model = world(3, context=4, width=16, depth=1, outcome_width=8)
    model.end_threshold = 1.0
    ours, steps = roll_out(GpuRolloutEngine(device, seed=3), model, 11, horizon)
    spec, _ = roll_out(FusedRolloutEngine(seed=3), model, 11, horizon)
    assert steps == horizon
    for name in ("action", "member", "length"):
        assert np.array_equal(ours[name], spec[name]), name
    last = [branches["frame"][:, 3 + horizon].astype(int) for branches in (ours, spec)]
    apart = np.abs(last[0] - last[1])
    with capsys.disabled():
        print(f"\nH {horizon}: {(apart > 0).mean():.2%} of the pixels differ, mean {apart.mean():.3f} levels")


def test_ended_branches_stop_and_lanes_close_up(device: Device) -> None:
    """Members and actions of the second step are those that the CPU draws for the lanes that are left."""
    model = world(4, **SMALL)
    ours, _ = roll_out(GpuRolloutEngine(device, seed=0), model, 60, 4)
    length, ended = ours["length"], ours["terminated"]
    assert len(np.unique(length)) > 2
    for row in range(60):
        assert ended[row, : length[row] - 1].sum() == 0
        assert length[row] == 4 or ended[row, length[row] - 1]
    alive = np.arange(60)
    for step in range(4):
        key = {"seed": 0, "step": step, "count": len(alive)}
        members = np.asarray(model.elites)[draws(7, len(model.elites), **key)]
        assert np.array_equal(ours["member"][alive, step], members)
        alive = alive[~ended[alive, step]]


def draws(stream: int, choices: int, *, seed: int, step: int, count: int) -> np.ndarray:
    from mbpo_fast.ops import Stream, random_integers

    assert stream == Stream.ROLLOUT_MEMBER
    return random_integers(seed, Stream.ROLLOUT_MEMBER, step, count, choices)


def test_the_second_run_goes_on_with_the_draws_and_the_ring(device: Device) -> None:
    model = world(3, **SMALL)
    model.end_threshold = 1.0
    for make in (lambda: GpuRolloutEngine(device, seed=3), lambda: FusedRolloutEngine(seed=3)):
        buffer, engine = ModelBuffer(12, context=4, horizon=2, frame_shape=(SIDE, SIDE)), make()
        for _ in range(2):
            engine.run(contexts(8, 5), agent(), model, buffer, horizon=2, epsilon=1.0)
        assert (buffer.total, buffer.oldest, engine.steps) == (16, 4, 4)
        last = buffer.export(8, 16)["member"]
        expected = np.asarray(model.elites)[draws(7, 2, seed=3, step=2, count=8)]
        assert np.array_equal(last[:, 0], expected)


def test_a_world_with_other_outputs_is_refused(device: Device) -> None:
    policy = pack_policy(agent().network, (SIDE, SIDE))
    with pytest.raises(ValueError, match="a world model with two outputs, got 1"):
        GpuNetwork(policy, device, predicts_frames=True)


def make(backend: str) -> Any:
    shape = {"seed": 0, "stack_size": 4, "frame_shape": (SIDE, SIDE), "threads": 1}
    return make_rollout_engine(RolloutConfig(backend=backend), agent(), world(1, **SMALL), **shape)


def test_the_backend_that_is_asked_for_runs(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mbpo_fast.models.backends.CudaDevice", lambda index: device)
    assert make("cuda").backend == "cuda"
    assert make("auto").backend == "cpu", "the networks are in main memory"


def test_a_missing_gpu_and_a_missing_build_say_the_fix(
    monkeypatch: pytest.MonkeyPatch, device: Device
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"cuda cannot run here; use torch or auto: .*a CUDA device"):
        make("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(__import__("sys").modules, "mbpo_fast._cuda", None)
    with pytest.raises(UsageError, match=r"no CUDA extension; with nvcc on the PATH: pip install"):
        gpu_device.load_cuda()
    with pytest.raises(UsageError, match=r"with nvcc on the PATH: pip install"):
        make("cuda")


def test_another_gpu_than_the_current_one(device: Device) -> None:
    if not isinstance(device, CudaDevice) or torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    check_step(CudaDevice(1), world(2, **SMALL), 5)
