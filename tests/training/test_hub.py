"""Pushing a policy folder: what is sent, and one line for every mistake. The network is never reached."""

import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mbpo_fast.cli import main
from mbpo_fast.config import load_config
from mbpo_fast.envs import make_vec
from mbpo_fast.training import hub
from mbpo_fast.training.build import build_agent
from mbpo_fast.training.policy import Policy, save_policy

REPO = "someone/catch-ddqn"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = load_config(["debug"], {"threads": "1"})
    env = make_vec("Catch", 1)
    return save_policy(Policy(config, build_agent(config, env), 0), tmp_path_factory.mktemp("hub") / "policy")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("a test reached for the network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


class FakeApi:
    calls: list[tuple[str, dict[str, Any]]]
    failure: Exception | None

    def create_repo(self, repo: str, **options: Any) -> str:
        self.calls.append((repo, options))
        if self.failure is not None:
            raise self.failure
        return f"https://huggingface.co/{repo}"

    def upload_folder(self, **options: Any) -> None:
        self.calls.append(("upload", options))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> type[FakeApi]:
    FakeApi.calls, FakeApi.failure = [], None
    fake = SimpleNamespace(HfApi=FakeApi, get_token=lambda: "a token")
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    monkeypatch.setattr(hub, "find_spec", lambda name: object())
    return FakeApi


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["push", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("mbpo-fast: error: ").rstrip("\n")


def test_what_is_sent(folder: Path, api: type[FakeApi], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(folder), REPO, "--private"]) == 0
    assert capsys.readouterr().out == f"https://huggingface.co/{REPO}\n"
    (repo, created), (_, uploaded) = api.calls
    assert (repo, created) == (REPO, {"private": True, "exist_ok": True})
    assert (uploaded["repo_id"], uploaded["folder_path"]) == (REPO, str(folder))
    assert sorted(uploaded["allow_patterns"]) == ["README.md", "config.json", "model.safetensors"]


def test_dry_run_needs_neither_package_nor_token(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    assert main(["push", str(folder), REPO, "--dry-run"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        f"{REPO}/{name}" for name in ("README.md", "config.json", "model.safetensors")
    ]


def test_mistakes_are_one_line(
    folder: Path,
    tmp_path: Path,
    api: type[FakeApi],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for repo in ("catch", "a/b/c", "/catch", "someone/", "some one/x", "../x"):
        assert "expected USER/NAME" in mistake(capsys, str(folder), repo)
    assert "expected a policy folder, found no config.json" in mistake(capsys, str(tmp_path), REPO)
    assert api.calls == []
    api.failure = ConnectionError("cannot reach the hub\nand many more lines")
    assert mistake(capsys, str(folder), REPO) == f"push to {REPO}: cannot reach the hub"
    monkeypatch.setattr(sys.modules["huggingface_hub"], "get_token", lambda: None)
    assert "expected a token from `hf auth login` or HF_TOKEN" in mistake(capsys, str(folder), REPO)
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    assert 'pip install "mbpo_fast[hub]"' in mistake(capsys, str(folder), REPO)


def test_the_real_client_without_network(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert "found none" in mistake(capsys, str(folder), REPO)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_none")

    class Offline(huggingface_hub.HfApi):  # type: ignore[misc, name-defined]
        def create_repo(self, *_: Any, **__: Any) -> Any:
            raise huggingface_hub.errors.OfflineModeIsEnabled(
                "Cannot reach the hub: offline mode is enabled."
            )

    monkeypatch.setattr(huggingface_hub, "HfApi", Offline)
    assert (
        mistake(capsys, str(folder), REPO)
        == f"push to {REPO}: Cannot reach the hub: offline mode is enabled."
    )
