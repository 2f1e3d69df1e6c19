"""A rollout on a GPU only launches: a CUDA graph can hold all of it, whatever it asks of the elites."""

from typing import Any

import numpy as np
import pytest
import torch
from gpu_devices import ONE_DEVICE
from rollout_parts import ACTIONS, SIDE, agent, contexts, world

from mbpo_fast.agents import DDQN
from mbpo_fast.agents.ddqn import DDQNConfig
from mbpo_fast.models import GpuRolloutEngine, ModelConfig, WorldModel
from mbpo_fast.models.fused import rollout_settings
from mbpo_fast.models.uncertainty import UncertaintyConfig
from mbpo_fast.nets.packing import pack_policy, pack_world
from mbpo_fast.ops import gpu
from mbpo_fast.ops.gpu import GpuNetwork
from mbpo_fast.ops.gpu_device import Device

SMALL: dict[str, Any] = {"context": 5, "width": 16, "depth": 1, "outcome_width": 8}
STEPS: dict[str, dict[str, Any]] = {
    "member": {},
    "mean": {"propagation": "mean"},
    "masked": {"uncertainty": UncertaintyConfig(mask_share=0.4, bonus=0.5)},
}
EVERY_STEP = pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
pytestmark = ONE_DEVICE


class Fixed:
    """A rollout whose parts stay where they are, so that it can be launched again."""

    def __init__(self, device: Device, rows: int, horizon: int, steps: dict[str, Any]) -> None:
        model, start, policy = world(3, **SMALL), contexts(rows, 5), agent()
        model.end_threshold = 1.0
        packed = pack_world(model.members, (SIDE, SIDE), context=5, num_actions=ACTIONS)
        self.rows = rows
        self.parts = (
            GpuNetwork(pack_policy(policy.network, (SIDE, SIDE)), device),
            GpuNetwork(packed, device, predicts_frames=True),
        )
        self.start = device.put(start)
        shape = {"capacity": rows, "context": 4, "horizon": horizon, "frame_shape": (SIDE, SIDE)}
        self.branches = gpu.GpuBranches(device, rows, **shape)
        self.workspace = gpu.rollout_workspace(*self.parts, rows, asked=len(model.elites) if steps else 0)
        engine = GpuRolloutEngine(device, seed=3, **steps)
        settings = rollout_settings(engine, policy, model)
        self.given: dict[str, Any] = {"first": 0, "horizon": horizon, "epsilon": 0.5, "settings": settings}

    def launch(self) -> None:
        gpu.rollout(*self.parts, self.start, self.branches, workspace=self.workspace, **self.given)

    def written(self) -> dict[str, np.ndarray]:
        """What was written; zeros past the branches' lengths."""
        columns = {name: self.branches.rows(name, 0, self.rows) for name in self.branches.arrays}
        past = np.arange(columns["action"].shape[1]) >= columns["length"][:, None]
        for name in ("action", "reward", "terminated", "member"):
            columns[name][past] = 0
        columns["frame"][:, 4:][past] = 0
        return columns


@EVERY_STEP
def test_a_rollout_allocates_and_copies_nothing_and_repeats(
    device: Device, steps: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = Fixed(device, 6, 3, steps)
    fixed.launch()
    first = fixed.written()
    with monkeypatch.context() as patch:
        for name in ("empty", "put", "get", "write"):
            patch.setattr(device, name, None)
        fixed.launch()
    again = fixed.written()
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_a_workspace_for_one_member_does_not_serve_all(device: Device) -> None:
    fixed = Fixed(device, 6, 3, STEPS["mean"])
    fixed.workspace = gpu.rollout_workspace(*fixed.parts, 6)
    with pytest.raises(ValueError, match=r"\[rollout\] expected a workspace of \d+ bytes"):
        fixed.launch()


@EVERY_STEP
def test_a_graph_captures_a_rollout_on_another_stream(device: Device, steps: dict[str, Any]) -> None:
    if device.description == "emulated":
        pytest.skip("graphs and streams are CUDA's")
    fixed = Fixed(device, 20, 3, steps)
    fixed.launch()
    expected = fixed.written()
    before = torch.cuda.memory_allocated()
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        fixed.launch()
    with torch.cuda.graph(graph, stream=stream):
        fixed.launch()
    assert torch.cuda.memory_allocated() == before
    for array in fixed.branches.arrays.values():
        array.zero_()
    graph.replay()
    again = fixed.written()
    assert all(np.array_equal(expected[name], again[name]) for name in expected)


def test_a_step_is_as_many_kernels_as_the_documentation_says(device: Device) -> None:
    """docs/performance.md counts three more: lanes and members, actions, decisions."""
    shape: dict[str, Any] = {"frame_shape": (84, 84), "num_actions": ACTIONS, "seed": 0}
    policy = pack_policy(DDQN(DDQNConfig(), stack_size=4, **shape).network, (84, 84))
    assert GpuNetwork(policy, device).core.kernels == 3
    for arch, context, kernels in (("clock", 36, 1), ("grid", 8, 1), ("nature", 4, 6)):
        model = WorldModel(ModelConfig(arch=arch, context=context, ensemble_size=1, num_elites=1), **shape)
        packed = pack_world(model.members, (84, 84), context=context, num_actions=ACTIONS)
        assert GpuNetwork(packed, device, predicts_frames=True).core.kernels == kernels, arch
