"""Videos and policies of a run: there when they should be, and without a trace in the run itself."""

import json
from pathlib import Path

import pytest

from mbpo_fast.config import load_config
from mbpo_fast.training.run import train

TINY = {
    "training.total_steps": "320",
    "training.learning_starts": "100",
    "training.updates_per_step": "0.2",
    "model.first_updates": "4",
    "model.updates": "2",
    "model.check_every": "2",
    "evaluation.final_episodes": "0",
    "checkpoint.every": "100",
    "threads": "1",
    "log.every": "50",
}


def trained(folder: Path, **overrides: str) -> Path:
    keys = {name.replace("__", "."): value for name, value in overrides.items()}
    assert train(load_config(["debug"], TINY | keys), folder, config_name="debug") == 0
    return folder


def fingerprint(run: Path) -> tuple[object, ...]:
    """Metrics without the clock, and hashes of the last checkpoint's tensors."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    metrics = [{k: v for k, v in line.items() if not k.startswith("time/")} for line in lines]
    last = sorted((run / "checkpoints").glob("ckpt_*"))[-1]
    manifest = json.loads((last / "manifest.json").read_text())
    return metrics, manifest["files"]["tensors.safetensors"]["sha256"], manifest["buffers"]


def videos(run: Path) -> list[str]:
    return sorted(path.stem for path in (run / "videos").glob("*")) if (run / "videos").exists() else []


def test_videos_leave_no_trace_in_the_run(tmp_path: Path) -> None:
    without = trained(tmp_path / "without", video__every="0", video__final="false")
    filmed = trained(tmp_path / "with", video__every="3")
    assert videos(without) == []
    assert videos(filmed)[0] == "final"
    assert len(videos(filmed)) > 5
    assert all(name.startswith("train_") for name in videos(filmed)[1:])
    assert fingerprint(filmed) == fingerprint(without)


def test_every_evaluation_has_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mbpo_fast.training import frozen

    monkeypatch.setattr(frozen, "thread_count", lambda config: 0)
    options = {"evaluation__every": "100", "evaluation__episodes": "2", "video__every": "0"}
    run = trained(tmp_path / "run", **options)
    names = videos(run)
    assert [name[:5] for name in names] == ["eval_", "eval_", "eval_", "final"]
    assert (run / "policies" / "best" / "model.safetensors").exists()
    quiet = trained(tmp_path / "quiet", **options, video__evaluations="false", video__final="false")
    assert videos(quiet) == []
    assert fingerprint(quiet) == fingerprint(run)
