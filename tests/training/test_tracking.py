"""W&B: offline without key and network, one id for life, every mistake one line."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mbpo_fast.config import load_config
from mbpo_fast.config.schema import TrackConfig
from mbpo_fast.errors import UsageError
from mbpo_fast.training import tracking
from mbpo_fast.training.tracking import RUN_ID_FILE, Tracker, check_tracking, has_key, open_tracker

SECRET = "0123456789abcdef" * 2 + "01234567"
TINY = [
    "--config", "debug", "--threads", "1", "--training.total_steps", "400", "--log.every", "50",
    "--training.learning_starts", "100", "--training.real_ratio", "1", "--training.updates_per_step", "0.1",
    "--evaluation.final_episodes", "2", "--evaluation.every", "150", "--evaluation.episodes", "2",
    "--checkpoint.every", "100", "--track", "wandb",
]  # fmt: skip


@pytest.fixture
def no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("WANDB_") or name == "NETRC"]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


def test_nothing_is_tracked_unless_asked(tmp_path: Path) -> None:
    tracker = open_tracker(load_config(["debug"], {}), tmp_path)
    assert type(tracker) is Tracker
    tracker.log(1, {"a": 1.0})
    tracker.close(0)
    assert list(tmp_path.iterdir()) == []


def test_without_the_package(no_key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    check_tracking(TrackConfig())
    with pytest.raises(UsageError, match=r'wandb is not installed: pip install "mbpo_fast\[wandb\]"'):
        check_tracking(TrackConfig(to="wandb"))


def test_online_without_a_key_says_how_to_go_offline(no_key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: object())
    check_tracking(TrackConfig(to="wandb"))
    check_tracking(TrackConfig(to="wandb", mode="offline"))
    with pytest.raises(UsageError, match=r"expected a key .* found none; .* --track.mode offline"):
        check_tracking(TrackConfig(to="wandb", mode="online"))
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(UsageError, match="expected a key"):
        check_tracking(TrackConfig(to="wandb"))


def test_a_key_is_found_where_wandb_keeps_it(no_key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_key()
    netrc = no_key / ".netrc"
    netrc.write_text(f"machine other.org login user password {SECRET}\n")
    netrc.chmod(0o600)
    assert not has_key()
    netrc.write_text(f"machine api.wandb.ai login user password {SECRET}\n")
    assert has_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not has_key()
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    assert has_key()


def test_there_is_no_setting_for_a_key() -> None:
    for key in ("track.api_key", "track.key", "wandb.api_key"):
        with pytest.raises(UsageError, match="unknown key") as caught:
            load_config(["debug"], {key: SECRET})
        assert SECRET not in str(caught.value)


def fake_wandb(monkeypatch: pytest.MonkeyPatch, init: Any) -> None:
    errors = SimpleNamespace(Error=RuntimeError)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, errors=errors, Settings=dict))


def test_a_server_that_cannot_be_reached_is_one_line(
    no_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**options: Any) -> Any:
        assert (options["mode"], options["resume"]) == ("online", "allow")
        raise RuntimeError("timed out\nafter a while")

    fake_wandb(monkeypatch, init)
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    with pytest.raises(UsageError, match=r"timed out after a while; .*: --track.mode offline") as caught:
        open_tracker(load_config(["debug"], {"track.to": "wandb"}), tmp_path)
    assert SECRET not in str(caught.value)


def test_the_id_of_a_folder_wins_over_that_of_a_sweep(
    no_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = []

    def init(**options: Any) -> Any:
        ids.append(options["id"])
        return SimpleNamespace(define_metric=lambda *_, **__: None)

    fake_wandb(monkeypatch, init)
    config = load_config(["debug"], {"track.to": "wandb", "track.mode": "offline"})
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_RUN_ID", "fromsweep")
    open_tracker(config, tmp_path)
    monkeypatch.setenv("WANDB_RUN_ID", "another")
    open_tracker(config, tmp_path)
    monkeypatch.delenv("WANDB_RUN_ID")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    open_tracker(config, fresh)
    assert ids[:2] == ["fromsweep", "fromsweep"]
    assert ids[2] == (fresh / RUN_ID_FILE).read_text().strip()
    assert len(ids[2]) == 8


class Listener:
    """A proxy that only notes who calls."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.calls: list[bytes] = []
        threading.Thread(target=self._count, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.getsockname()[1]}"

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.calls.append(connection.recv(100))
            connection.close()


def environment(home: Path, proxy: str, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "NETRC"))}
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), proxy)
    return kept | proxies | {"HOME": str(home), "NO_PROXY": "", "OMP_NUM_THREADS": "1"} | more


def train(run: Path, env: dict[str, str], *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mbpo_fast", "train", *TINY, "--run", str(run), *arguments]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def records(wandb_dir: Path, env: dict[str, str]) -> dict[str, Any]:
    """What W&B's own reader says about an offline run: its records, by type."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(wandb_dir)]
    env = env | {"WANDB_ERROR_REPORTING": "false"}  # the reader reports its own use
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record)
    return found


@pytest.mark.slow
def test_offline_run_resumed_under_its_id_and_read_by_wandb(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    proxy, run = Listener(), tmp_path / "run"
    env = environment(tmp_path, proxy.url)
    first = train(run, env, "--training.total_steps", "100000")
    wait_for(lambda: (run / "metrics.jsonl").exists() and len((run / "metrics.jsonl").read_text()) > 1000)
    first.send_signal(signal.SIGTERM)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 75, err
    run_id = (run / RUN_ID_FILE).read_text().strip()
    assert f"W&B run {run_id}, offline; to send it: wandb sync " in out
    steps = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    # The key is there this time: offline by request, and still in no file.
    second = train(
        run,
        env | {"WANDB_API_KEY": SECRET},
        "--training.total_steps",
        str(steps + 300),
        "--track.mode",
        "offline",
    )
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    folders = sorted((run / "wandb").glob("offline-run-*"))
    assert [folder.name.rpartition("-")[2] for folder in folders] == [run_id, run_id]
    assert_read_back(run, folders, env, run_id)
    assert not [path for path in run.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert proxy.calls == [], "an offline run called the network"


def assert_read_back(run: Path, folders: list[Path], env: dict[str, str], run_id: str) -> None:
    parts = [records(folder, env) for folder in folders]
    for part in parts:
        (begin,) = part["run"]
        assert begin["run"]["run_id"] == run_id
        assert begin["run"]["config"]["update"]["env"]["id"] == "Catch"
    logged = [record["history"]["item"] for part in parts for record in part["history"]]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        same_step = [item for item in logged if item["env_steps"] == line["step"]]
        for tag in ("rollout/ep_rew_mean", "eval/mean_reward", "train/loss", "data/replay_fill"):
            if tag in line:
                assert line[tag] in [item.get(tag) for item in same_step], (tag, line["step"])
    assert any("train/loss" in line for line in lines)
    assert len(logged) < 2 * len(lines) + 40, "W&B gets intervals, not steps"
    summary = json.loads((run / "summary.json").read_text())
    assert logged[-1]["final/agent_mean_reward"] == summary["agent"]["mean"]
    assert any("videos/final" in item or "videos/final._type" in item for item in logged)
    artifacts = [record["artifact"] for part in parts for record in part["artifact"]]
    assert {artifact["name"] for artifact in artifacts} == {f"policy-{run_id}"}
    assert {"best", "final"} <= {alias for artifact in artifacts for alias in artifact["aliases"]}


def wait_for(fulfilled: Any) -> None:
    for _ in range(600):
        if fulfilled():
            return
        time.sleep(0.1)
    raise AssertionError("waited for a minute in vain")


def test_online_without_a_key_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    process = train(tmp_path / "run", environment(tmp_path, "http://127.0.0.1:9"), "--track.mode", "online")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("mbpo-fast: error: W&B online: expected a key")
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()
