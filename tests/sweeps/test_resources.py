"""How many trials run at once: cores, memory, GPUs."""

from pathlib import Path

import pytest

from mbpo_fast.config import load_config
from mbpo_fast.sweeps import resources


def test_jobs_follow_cores_memory_and_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = load_config(["debug"], {"threads": "1"})
    large = load_config(["mbpo"], {"threads": "1", "replay.capacity": "1000000"})
    monkeypatch.setattr(resources, "available_cores", lambda: 8)
    monkeypatch.setattr(resources, "free_memory", lambda: 32_000_000_000)
    monkeypatch.setattr(resources, "gpus", lambda config: [])
    assert resources.default_jobs(small, 100) == 8
    assert resources.default_jobs(small, 3) == 3
    assert resources.default_jobs(load_config(["debug"], {"threads": "4"}), 100) == 2
    assert resources.default_jobs(large, 100) == 3  # 8.5 GB each
    monkeypatch.setattr(resources, "free_memory", lambda: 1)
    assert resources.default_jobs(large, 100) == 1
    monkeypatch.setattr(resources, "free_memory", lambda: 32_000_000_000)
    monkeypatch.setattr(resources, "gpus", lambda config: ["0", "1"])
    assert resources.default_jobs(small, 100) == 2


def test_memory_of_a_container(tmp_path: Path) -> None:
    proc, group = tmp_path / "meminfo", tmp_path / "cgroup"
    proc.write_text("MemTotal: 9000000 kB\nMemAvailable:    8000000 kB\n")
    assert resources.free_memory(proc, group) == 8_192_000_000
    group.mkdir()
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("5\n")
    assert resources.free_memory(proc, group) == 8_192_000_000
    (group / "memory.max").write_text("1000\n")
    assert resources.free_memory(proc, group) == 995


def test_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = load_config(["debug"], {})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert resources.gpus(config, tmp_path / "none") == []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert resources.gpus(config, tmp_path) == ["0", "1"]
    assert resources.gpus(load_config(["debug"], {"device": "cpu"}), tmp_path) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert resources.gpus(config, tmp_path) == ["3", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert resources.gpus(config, tmp_path) == []
