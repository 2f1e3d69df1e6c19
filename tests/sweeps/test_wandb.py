"""The W&B engine without network or key, what it would send, and `train` with the words W&B's agent sends."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mbpo_fast import cli
from mbpo_fast.commands.agent_words import agent_folder, plain_words
from mbpo_fast.sweeps.schema import read_sweep
from mbpo_fast.sweeps.wandb_engine import server_config

EXAMPLE = Path(__file__).parents[2] / "configs" / "sweep.yaml"
KEY = "0" * 40


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No key, no proxy, and a server address where nobody listens."""
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    return monkeypatch


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["sweep", str(EXAMPLE), "--engine", "wandb"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert not Path("runs").exists()
    return err


def test_without_a_key(nowhere: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("wandb")
    assert refused(capsys) == (
        "mbpo-fast: error: W&B: no key for 127.0.0.1: run `wandb login`, or set WANDB_API_KEY; "
        "`--engine local` needs neither key nor network\n"
    )


def test_without_a_network(nowhere: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("wandb")
    nowhere.setenv("WANDB_API_KEY", KEY)
    text = refused(capsys)
    assert "W&B: cannot reach 127.0.0.1 (" in text
    assert KEY not in text
    nowhere.delenv("WANDB_API_KEY")
    Path("netrc").write_text(f"machine 127.0.0.1 login user password {KEY}\n")
    Path("netrc").chmod(0o600)
    nowhere.setenv("NETRC", "netrc")
    assert "W&B: cannot reach 127.0.0.1 (" in refused(capsys)


def test_offline(nowhere: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("wandb")
    nowhere.setenv("WANDB_MODE", "offline")
    assert "W&B: sweeps need its server, and WANDB_MODE is offline" in refused(capsys)


def test_without_the_package(nowhere: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere.setitem(sys.modules, "wandb", None)
    assert 'wandb is not installed: pip install "mbpo_fast[wandb]"' in refused(capsys)


def test_the_sweep_is_created_once_and_gone_on_with(nowhere: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    calls: list[Any] = []

    def create(config: Any, **place: Any) -> str:
        calls.append(("create", config["method"], place))
        return "abc123"

    nowhere.setattr("mbpo_fast.sweeps.wandb_engine.require_server", lambda: None)
    nowhere.setattr(wandb, "sweep", create)
    nowhere.setattr(wandb, "agent", lambda sweep_id, **options: calls.append((sweep_id, options)))
    place = {"project": "mbpo-fast", "entity": None}
    for _ in range(2):
        assert cli.main(["sweep", str(EXAMPLE), "--engine", "wandb", "--count", "3"]) == 0
    assert calls == [("create", "grid", place), *[("abc123", {"count": 3, **place})] * 2]


def test_a_server_that_refuses_is_one_line(
    nowhere: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb = pytest.importorskip("wandb")

    def create(config: Any, **place: Any) -> str:
        raise wandb.errors.CommError("project not found")

    nowhere.setattr("mbpo_fast.sweeps.wandb_engine.require_server", lambda: None)
    nowhere.setattr(wandb, "sweep", create)
    assert cli.main(["sweep", str(EXAMPLE), "--engine", "wandb"]) == 2
    assert capsys.readouterr().err.startswith("mbpo-fast: error: W&B: project not found; ")


def test_nested_groups_are_sent_by_dotted_names(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "method: grid\nparameters:\n  agent: {parameters: {gamma: {value: 0.9}}}\n"
        "command: ['${env}', mbpo-fast, train, --config, debug, '${args}']\n"
    )
    config = server_config(read_sweep(path))
    assert config["parameters"] == {"agent.gamma": {"value": 0.9}}
    track = ["--track", "wandb", "--config", "debug", "${args}"]
    assert config["command"] == ["${env}", sys.executable, "-m", "mbpo_fast", "train", *track]


def test_train_takes_what_the_agent_sends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    from mbpo_fast.training import run as run_module

    sent = {
        "config": "debug",
        "seed": 3,
        "agent.learning_rate": 1e-05,
        "early_stopping.enabled": True,
        "env.max_episode_steps": None,
        "training.rollout_schedule": [0, 1, 1, 2],
        "model": {"ensemble_size": 3, "gate": {"mode": "off"}},
    }
    words = utils.create_sweep_command_args({"args": {k: {"value": v} for k, v in sent.items()}})
    calls: list[Any] = []
    monkeypatch.setattr(run_module, "train", lambda c, folder, **_: calls.append((c, folder)) or 0)
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    monkeypatch.setenv("WANDB_RUN_ID", "r/7")
    assert cli.main(["train", *words["args"]]) == 0, capsys.readouterr().err
    config, folder = calls.pop()
    assert (config.seed, config.agent.learning_rate, config.env.id) == (3, 1e-05, "Catch")
    assert (config.early_stopping.enabled, config.env.max_episode_steps) == (True, None)
    assert config.training.rollout_schedule == (0, 1, 1, 2)
    assert (config.model.ensemble_size, config.model.gate.mode) == (3, "off")
    assert folder == Path("runs/sweep-s1/r-7")
    assert cli.main(["train", "--config", "debug", "--run", "mine"]) == 0
    assert calls.pop()[1] == Path("mine")


def test_other_words_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["train", "--config", "{", "--x={", "--run=None", "--a.b={1}", "--config=debug"]
    assert plain_words(words)[:5] == words[:5]
    assert plain_words(["--config=['a', 'b']"]) == ["--config=a", "--config=b"]
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    assert agent_folder() is None


CHECK = """
import json, sys
from sweeps.config import schema_violations_from_proposed_config as violations
print(json.dumps([violations(json.loads(text)) for text in sys.argv[1:]]))
"""


@pytest.mark.slow
def test_the_example_passes_wandbs_own_schema(tmp_path: Path) -> None:
    # W&B's schema is a package apart (`sweeps`) that wants an older NumPy: an environment of its own.
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    installed = subprocess.run([python, "-m", "pip", "install", "--quiet", "sweeps"], check=False)
    if installed.returncode:
        pytest.skip("pip cannot install W&B's schema here")
    sweep = read_sweep(EXAMPLE)
    texts = [json.dumps(tree) for tree in (sweep.tree, server_config(sweep), {"method": "grd"})]
    done = subprocess.run([python, "-c", CHECK, *texts], capture_output=True, text=True, check=True)
    file, sent, wrong = json.loads(done.stdout)
    assert (file, sent) == ([], [])
    assert wrong  # the check can fail
