"""Runs with their frames on a GPU, in its emulation, are those with frames in main memory, bit for bit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu_devices import TENSORS

from mbpo_fast.config import load_config
from mbpo_fast.data.placement import Placement, place_frames
from mbpo_fast.errors import UsageError
from mbpo_fast.models import GpuRolloutEngine
from mbpo_fast.ops.gpu_device import Device, EmulatedDevice
from mbpo_fast.training import build, build_buffers
from mbpo_fast.training.run import train

ON_EMULATION = pytest.mark.parametrize("device", [TENSORS], indirect=True)
SHORT = {
    "threads": "1", "training.total_steps": "300", "training.learning_starts": "100", "log.every": "50",
    "model.first_updates": "10", "model.updates": "5", "checkpoint.every": "100", "replay.capacity": "150",
    "training.model_rollout_length": "2", "evaluation.final_episodes": "0", "video.every": "0",
    "training.updates_per_step": "0.25",
}  # fmt: skip
ARMS = {
    "mbpo": {},
    "all switches": {
        "agent.prioritized": "true", "agent.spr_steps": "2", "agent.n_step": "3", "agent.random_shift": "2",
        "rollout.backend": "torch", "training.updates_per_step": "0.1",
    },
    "without a model": {"training.real_ratio": "1"},
    "sac": {"preset": "catch-sac", "training.real_ratio": "1"},
}  # fmt: skip


@pytest.fixture
def on_device(device: Device, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts the frames of the runs that follow on the device or in main memory."""
    make_engine = build.make_rollout_engine

    def make(config: Any, *parts: Any, seed: int, **rest: Any) -> Any:
        if config.backend == "torch":
            return make_engine(config, *parts, seed=seed, **rest)
        return GpuRolloutEngine(device, seed=seed)

    def choose(frames_too: bool) -> None:
        placement = Placement(device if frames_too else None, "here")
        monkeypatch.setattr(build_buffers, "place_frames", lambda *_, **__: placement)

    monkeypatch.setattr(build, "make_rollout_engine", make)
    return choose


def run(folder: Path, *, preset: str = "debug", **overrides: str) -> None:
    assert train(load_config([preset], SHORT | overrides), folder, config_name=preset) == 0


def ending(folder: Path) -> dict[str, Any]:
    """What was logged, but for the clock, and the sums of the last checkpoint's files and segments."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    last = sorted((folder / "checkpoints").glob("ckpt_*"))[-1]
    manifest = json.loads((last / "manifest.json").read_text())
    tensors = {name: entry for name, entry in manifest["files"].items() if name.endswith(".safetensors")}
    logged = [{k: v for k, v in line.items() if not k.startswith("time/")} for line in lines]
    return {"logged": logged, "tensors": tensors, "buffers": manifest["buffers"]}


@ON_EMULATION
@pytest.mark.parametrize("arm", ARMS)
def test_a_run_is_the_same_wherever_its_frames_lie(on_device: Any, arm: str, tmp_path: Path) -> None:
    for place in ("host", "device"):
        on_device(place == "device")
        run(tmp_path / place, **ARMS[arm])
    ours, spec = ending(tmp_path / "device"), ending(tmp_path / "host")
    assert ours == spec
    assert spec["logged"][-1]["data/replay_fill"] == 1, "old frames made room"
    if arm == "mbpo":
        assert spec["logged"][-1]["data/synthetic_rows"] > 0
        assert set(spec["buffers"]) == {"replay", "model"}


@ON_EMULATION
def test_a_run_goes_on_wherever_its_frames_lie(on_device: Any, tmp_path: Path) -> None:
    """Checkpoints hold frames, not where they lay."""
    on_device(False)
    run(tmp_path / "host")
    for name, places in (("stays", (True, True)), ("moves", (False, True)), ("back", (True, False))):
        for steps, place in zip(("150", "300"), places, strict=True):
            on_device(place)
            run(tmp_path / name, **{"training.total_steps": steps})
        ours, spec = ending(tmp_path / name), ending(tmp_path / "host")
        assert ours["tensors"] == spec["tensors"], name
        assert ours["logged"][-1] == spec["logged"][-1], name


def test_where_frames_go(monkeypatch: pytest.MonkeyPatch) -> None:
    def place(wanted: Any, networks: str, nbytes: int = 1) -> Placement:
        return place_frames(wanted, networks=networks, index=None, nbytes=nbytes)

    for wanted, networks in (("auto", "cpu"), ("cpu", "cpu"), ("cpu", "cuda")):
        assert place(wanted, networks) == Placement(None, "in main memory")
    with pytest.raises(UsageError, match=r"^replay.device: cuda expects networks on a GPU, got device cpu$"):
        place("cuda", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"^replay.device: cuda cannot be; use cpu or auto: cuda: expected"):
        place("cuda", "cuda")
    assert "expected a CUDA device" in place("auto", "cuda").description


@ON_EMULATION
def test_auto_leaves_room_on_the_gpu(device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mbpo_fast.data.placement.CudaDevice", lambda _: device)
    sizes = {"networks": "cuda", "index": 0}
    half = device.free_bytes // 2
    assert place_frames("auto", nbytes=half, **sizes) == Placement(device, "on the GPU (emulated)")
    assert place_frames("auto", nbytes=half + 1, **sizes).device is None
    assert place_frames("cuda", nbytes=half + 1, **sizes).device is device


def test_learners_from_main_memory_refuse_frames_elsewhere() -> None:
    for preset, kind in (("catch-ppo", "learned"), ("debug", "oracle")):
        with pytest.raises(
            UsageError, match=r"replay\.device: ppo and model\.kind oracle read frames on the cpu"
        ):
            load_config([preset], {"replay.device": "cuda", "model.kind": kind})
