"""`train --dry-run`: makes the checks of a run, says what would run, and leaves nothing."""

from pathlib import Path

import pytest

from mbpo_fast import cli
from mbpo_fast.config import load_config, resolved_yaml


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def dry_run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    assert cli.main(["train", "--dry-run", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line[:11].strip(): line[12:].strip() for line in lines}


def test_it_says_what_would_run_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = dry_run(
        capsys, "--config", "debug", "--seed", "3", "--training.real_ratio", "0.25", "--threads", "1"
    )
    assert said["run folder"] == "runs/debug-Catch-s3"
    assert said["begins"] == "at step 0"
    assert said["game"] == "Catch, 4 side by side"
    assert said["model"] == "2 networks, 25 % of the rows stay real, gate always open"
    assert said["steps"] == "800, the first 200 by random actions"
    assert said["updates"] == "about 600 of the policy"
    assert said["stops early"] == "no"
    assert said["device"].endswith(", 1 CPU threads")
    assert list(tmp_path.iterdir()) == []
    assert dry_run(capsys, "--config", "debug", "--training.real_ratio", "1")["model"].startswith("none")
    early = dry_run(capsys, "--early_stopping.window_size", "20")["stops early"]
    assert early == "at a mean score of 400 over the last 20 games"


def test_it_finds_where_a_run_would_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("runs/debug-Catch-s0")
    (folder / "checkpoints/ckpt_000000400").mkdir(parents=True)
    (folder / "config.yaml").write_text(resolved_yaml(load_config(["debug"], {})))
    assert dry_run(capsys, "--config", "debug")["begins"] == "from ckpt_000000400"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--env.id", "Pongg"], "did you mean"),
        (["--training.real_ratioo", "1"], "unknown key"),
        (["--config", "debug", "--track", "wandb", "--track.mode", "online"], "wandb"),
        (["--config", "debug", "--run", "taken"], "expected a new folder or a run"),
        (["--env.screen_size", "90"], "env.screen_size 90: [ClockNet] expected frame sides divisible by 4"),
        (["--device", "gpu"], "expected auto | cpu | cuda | cuda:N, got"),
        (["--device", "cpu", "--replay.device", "cuda"], "replay.device: cuda expects networks on a GPU"),
        (["--device", "cpu", "--rollout.backend", "cuda"], "rollout.backend: cuda expects networks on a GPU"),
    ],
)
def test_it_finds_the_mistakes_of_a_run(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    expected: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # no key there
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    Path("taken").mkdir()
    Path("taken/cat.txt").write_text("meow")
    assert cli.main(["train", "--dry-run", *arguments]) == 2
    assert expected in capsys.readouterr().err


def test_a_folder_of_another_configuration_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("runs/debug-Catch-s0")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(resolved_yaml(load_config(["debug"], {"agent.gamma": "0.9"})))
    assert cli.main(["train", "--dry-run", "--config", "debug"]) == 2
    assert "agent.gamma 0.9 -> 0.99" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert cli.main(["train", "--dry-run", "--device", "cuda:1"]) == 2
    assert "expected a CUDA device for 'cuda:1', found 1" in capsys.readouterr().err
