"""Stop and go on: a run that was killed ends with the same bits as one that never stopped."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEBUG = ["--config", "debug", "--threads", "1", "--checkpoint.every", "100"]
ATARI = [
    *DEBUG, "--env.id", "SpaceInvadersNoFrameskip-v4", "--training.total_steps", "900",
    "--model.first_updates", "20", "--model.updates", "5", "--model.train_freq", "200",
    "--training.updates_per_step", "0.25", "--evaluation.final_episodes", "2", "--video.final", "false",
]  # fmt: skip
PPO_ALONE = [
    "--config", "ppo", "--env.id", "Catch", "--threads", "1", "--agent.hidden", "32",
    "--training.total_steps", "6000", "--evaluation.final_episodes", "20",
    "--log.every", "100", "--video.every", "0", "--video.final", "false",
]  # fmt: skip
PPO = [*PPO_ALONE, "--agent.rollout_steps", "32"]
# Saved at the end of a rollout: short ones make as many checkpoints.
HALVES = [*PPO_ALONE, "--agent.rollout_steps", "8", "--training.halves", "true", "--env.workers", "2"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def start(run: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mbpo_fast", "train", *arguments, "--run", str(run)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(run: Path, arguments: list[str]) -> None:
    process = start(run, arguments)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors.decode()


def metrics(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines]


def final_state(run: Path) -> tuple[str, object]:
    """Hashes of every tensor file of the last checkpoint, and its plain state without the clock."""
    last = sorted((run / "checkpoints").glob("ckpt_*"))[-1]
    manifest = json.loads((last / "manifest.json").read_text())
    hashes = {
        name: entry["sha256"] for name, entry in manifest["files"].items() if name.endswith(".safetensors")
    }
    state = json.loads((last / "state.json").read_text())
    state.pop("seconds", None)
    state.pop("logger", None)
    return json.dumps(hashes, sort_keys=True), state


def assert_same_end(run: Path, reference: Path) -> None:
    assert metrics(run) == metrics(reference)
    assert final_state(run) == final_state(reference)
    kept = ("env_steps", "gradient_steps", "synthetic_rows", "real_rows", "agent")
    ends = [json.loads((folder / "summary.json").read_text()) for folder in (run, reference)]
    assert {key: ends[0][key] for key in kept} == {key: ends[1][key] for key in kept}


@pytest.fixture(scope="module")
def catch_reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("reference") / "run"
    finish(run, DEBUG)
    return run


@pytest.mark.parametrize(
    ("number", "code", "changed"),
    [(signal.SIGTERM, 75, []), (signal.SIGINT, 130, ["--env.workers", "1"])],
)
def test_a_signal_saves_and_the_same_command_goes_on(
    tmp_path: Path, catch_reference: Path, number: int, code: int, changed: list[str]
) -> None:
    run = tmp_path / "run"
    process = start(run, DEBUG)
    wait_for_steps(run, 1)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert not (run / "summary.json").exists(), "it must have been stopped before its end"
    assert list((run / "checkpoints").glob("ckpt_*"))
    finish(run, [*DEBUG, *changed])
    assert_same_end(run, catch_reference)


def test_a_signal_in_the_final_evaluation_loses_nothing(tmp_path: Path, catch_reference: Path) -> None:
    run = tmp_path / "run"
    process = start(run, [*DEBUG, "--evaluation.final_episodes", "100000"])
    assert process.stdout is not None
    while b"evaluating the frozen agent" not in (line := process.stdout.readline()):
        assert line, "it ended before its evaluation"
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors.decode()
    assert b"the same command goes on" in out
    assert not (run / "summary.json").exists()
    finish(run, DEBUG)
    assert_same_end(run, catch_reference)
    longer = [*DEBUG, "--training.total_steps", "1000000"]
    lines = len(metrics(run))
    process = start(run, longer)
    wait_for_steps(run, lines + 1)
    process.kill()
    process.communicate()
    assert not (run / "summary.json").exists(), "that of the shorter run"


def test_a_run_in_use_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    endless = [*DEBUG, "--training.total_steps", "1000000"]
    first = start(run, endless)
    wait_for_steps(run, 1)
    second = start(run, endless)
    _, errors = second.communicate(timeout=60)
    first.kill()
    first.communicate()
    assert second.returncode == 2
    assert b"got one in use" in errors
    assert errors.count(b"\n") == 1


def wait_for_steps(run: Path, lines: int) -> None:
    for _ in range(600):
        path = run / "metrics.jsonl"
        if path.exists() and len(path.read_text().splitlines()) >= lines:
            return
        time.sleep(0.1)
    raise AssertionError("the run wrote no metrics within a minute")


def checkpoints(run: Path) -> set[str]:
    return {path.name for path in (run / "checkpoints").glob("ckpt_*")}


def kill_ten_times(run: Path, arguments: list[str]) -> int:
    """SIGKILLs at random moments, some while it starts, most after some progress; how many hit a live run."""
    rng = random.Random(0)
    killed = 0
    for attempt in range(10):
        process = start(run, arguments)
        if attempt % 4 == 0:
            time.sleep(rng.uniform(0.2, 4.0))
        else:
            seen, wanted = checkpoints(run), rng.randint(1, 2)
            while process.poll() is None and len(checkpoints(run) - seen) < wanted:
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 0.2))
        killed += process.poll() is None
        process.kill()
        process.communicate()
    return killed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [("catch", DEBUG), ("space_invaders", ATARI), ("ppo", PPO), ("halves", HALVES)],
)
def test_killed_ten_times_ends_with_the_same_bits(tmp_path: Path, name: str, arguments: list[str]) -> None:
    reference, run = tmp_path / "reference", tmp_path / "run"
    arguments = [*arguments, "--checkpoint.every", "20", "--checkpoint.keep", "50"]
    finish(reference, arguments)
    assert kill_ten_times(run, arguments) == 10, "every kill must hit a run that is not over"
    assert not (run / "summary.json").exists()
    finish(run, arguments)
    assert_same_end(run, reference)
