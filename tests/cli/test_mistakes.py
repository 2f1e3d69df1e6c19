"""One line for every mistake, exit code 2, and nothing touched."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_results import CATCH, claimed_run, files, mistake

from mbpo_fast.training.checkpoint import CheckpointStore


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], 'Unknown command "trian". Did you mean "train"?'),
        (["train", "--confg", "mbpo"], "Unknown option: --confg. Did you mean --config?"),
        (["train", "mbpo"], "unexpected argument mbpo (a preset or a file goes after --config)"),
        (["verify-env", "Catch", "extra"], "unexpected argument extra"),
        (["train", "--seed", "x"], "--seed"),
        (["train", "--seed", "-1"], "--seed: expected int >= 0"),
        (["train", "--config", "mpbo"], "mpbo: no such preset or file (did you mean mbpo?); presets: "),
        (["train", "--config", "nope.yaml"], "nope.yaml: No such file or directory"),
        (["train", "--training.real-ratioo", "1"], "unknown key (did you mean training.real_ratio?)"),
        (["train", "--training.batch_size", "many"], "--training.batch_size: expected int >= 1, got"),
        (["train", "--training.batch_size", "0"], "--training.batch_size: expected int >= 1, got 0"),
        (["train", "--training.batch-size=0"], "--training.batch_size: expected int >= 1, got 0"),
        (["train", "--training.batch_size"], "--training.batch_size: expected a value after it"),
        (["train", "--env.fire-reset", "--seed", "1"], "--env.fire-reset: expected a value after it"),
        (["train", "--device", "gpu"], "--device: expected auto | cpu | cuda | cuda:N, got"),
        (
            ["train", "--device", "cpu", "--cuda_graphs", "true"],
            "cuda_graphs: expected networks on a GPU, got device cpu; set it to false",
        ),
        (["train", "--env.id", "Pongg"], "did you mean"),
        (["config", "show", "--env.idd", "x"], "--env.idd: unknown key (did you mean env.id?)"),
        (["config", "schow"], 'Did you mean "show"?'),
        (["verify-env", "Pongg"], "did you mean"),
        (["eval"], "RUN"),
        (["eval", "nowhere"], "nowhere"),
        (["eval", "nowhere", "--episodes", "0"], "--episodes: expected at least 1, got 0"),
        (["eval", "nowhere", "--epsilon", "2"], "--epsilon: expected 0 to 1, got 2"),
        (["eval", "nowhere", "--workers", "-1"], "--workers: expected at least 0, got -1"),
        (["eval", "nowhere", "--video", "a.avi"], "--video: expected a file that ends in .mp4 or .gif"),
        (["export", "nowhere", "there"], "nowhere: expected a run, a checkpoint or a policy folder"),
        (["push", "nowhere", "someone/something"], "nowhere: expected a policy folder, found no config.json"),
        (["train", "--track", "wandbb"], "--track"),
        (["eval", "nowhere", "--seed", "-3"], "--seed: expected 0 to 2147483647, got -3"),
        (["eval", "nowhere", "--training.x", "1"], "--training.x"),
        (["report", "nowhere"], "nowhere: expected a run folder"),
        (["report", "nowhere", "-o", "."], "--output: expected a file in a folder that exists, got ."),
        (["eval", "nowhere", "--json", "/"], "--json: expected a file in a folder that exists, got /"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    run: Any, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    assert expected in mistake(run(*arguments))
    assert files(tmp_path) == {}


def test_a_settings_file_with_a_mistake(run: Any, tmp_path: Path) -> None:
    Path("mine.yaml").write_text("training:\n  real_ratioo: 0.1\n")
    assert mistake(run("train", "--config", "mine.yaml")) == (
        "mine.yaml: training.real_ratioo: unknown key (did you mean training.real_ratio?)"
    )
    Path("mine.yaml").write_text("seed: 1\nseed: 2\n")
    assert mistake(run("train", "--config", "mine.yaml")) == "mine.yaml:2:1: duplicate key 'seed'"
    assert list(files(tmp_path)) == ["mine.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_files_without_permission(run: Any) -> None:
    Path("mine.yaml").touch(mode=0)
    assert mistake(run("train", "--config", "mine.yaml")) == "mine.yaml: Permission denied"


def test_a_run_folder_that_is_a_file(run: Any) -> None:
    Path("taken").write_text("mine")
    assert "taken" in mistake(run("train", *CATCH, "--run", "taken/inside"))
    assert "taken" in mistake(run("train", *CATCH, "--run", "taken"))
    assert Path("taken").read_text() == "mine"


def test_a_folder_of_something_else_is_refused(run: Any, tmp_path: Path) -> None:
    Path("photos").mkdir()
    Path("photos/cat.txt").write_text("meow")
    before = files(tmp_path)
    assert "photos: expected a new folder or a run" in mistake(run("train", *CATCH, "--run", "photos"))
    assert files(tmp_path) == before


def test_a_run_of_another_configuration_is_refused_key_by_key(run: Any, tmp_path: Path) -> None:
    claimed_run("training.batch_size=16", "agent.gamma=0.9", "training.total_steps=5")
    before = files(tmp_path)
    message = mistake(run("train", *CATCH))
    assert "training.batch_size 16 -> 32" in message
    assert "agent.gamma 0.9 -> 0.99" in message
    assert "total_steps" not in message  # a budget may differ
    assert files(tmp_path) == before


def test_a_damaged_checkpoint_is_named(run: Any, tmp_path: Path) -> None:
    folder = claimed_run()
    store = CheckpointStore(folder / "checkpoints", keep=2)
    store.save(100, {"x": np.zeros(3)}, {})
    path = store.save(200, {"x": np.zeros(3)}, {})
    (path / "tensors.safetensors").write_bytes(b"rubbish")
    before = files(tmp_path)
    for command in (["train", *CATCH], ["eval", str(folder)], ["eval", str(path)]):
        message = mistake(run(*command))
        assert "ckpt_000000200/tensors.safetensors: expected" in message
        assert "to go on from ckpt_000000100, move ckpt_000000200 away" in message
    assert files(tmp_path) == before
