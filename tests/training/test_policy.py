"""A policy folder is the policy that was saved, and nothing damaged or foreign is ever loaded or replaced."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors import safe_open

import mbpo_fast
from mbpo_fast.config import load_config
from mbpo_fast.errors import UsageError
from mbpo_fast.training.policy import load_policy, read_description, save_policy
from mbpo_fast.training.run import train

TINY = {
    "training.total_steps": "300",
    "training.real_ratio": "1",
    "training.learning_starts": "100",
    "training.updates_per_step": "0.2",
    "evaluation.every": "100",
    "evaluation.episodes": "4",
    "evaluation.final_episodes": "4",
    "threads": "1",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy") / "run"
    assert train(load_config(["debug"], TINY), folder, config_name="debug") == 0
    return folder


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    return save_policy(load_policy(run), tmp_path / "exported")


def stacks() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 4, 36, 36), dtype=np.uint8)


def test_the_folder_is_the_same_policy(run: Path, folder: Path) -> None:
    ours, theirs = mbpo_fast.load_agent(run), mbpo_fast.load_agent(folder)
    actions = ours.act(stacks())
    assert len(set(actions.tolist())) > 1
    assert np.array_equal(actions, theirs.act(stacks()))
    scores = [mbpo_fast.evaluate(agent, episodes=6, seed=1)["scores"] for agent in (ours, theirs)]
    assert scores[0] == scores[1]


def test_what_is_in_it(run: Path, folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    description = json.loads((folder / "config.json").read_text())
    summary = json.loads((run / "summary.json").read_text())
    assert description["evaluation"]["scores"] == summary["agent"]["scores"]
    assert (description["env_id"], description["algorithm"]) == ("Catch", "ddqn")
    assert description["env_steps"] == summary["env_steps"]
    assert (description["settings"]["device"], description["settings"]["threads"]) == ("auto", None)
    with safe_open(folder / "model.safetensors", "np") as tensors:
        shapes = {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
    assert shapes["encoder.convs.0.weight"] == [32, 4, 8, 8]
    assert shapes["advantage.weight"][0] == 3


def test_the_card_reads_well(run: Path, folder: Path) -> None:
    _, metadata, text = (folder / "README.md").read_text().split("---\n", 2)
    parsed = yaml.safe_load(metadata)
    assert parsed["library_name"] == "mbpo_fast"
    assert "reinforcement-learning" in parsed["tags"]
    evaluation = json.loads((run / "summary.json").read_text())["agent"]
    (result,) = parsed["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == f"{evaluation['mean']:.2f} +/- {evaluation['std']:.2f}"
    assert "# DDQN on Catch" in text
    assert evaluation["protocol"] in text
    assert "mbpo_fast.load_agent" in text
    assert "| `training.total_steps` | 300 | 100000 |" in text


def test_the_best_and_the_final_policy_of_a_run(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    means = {line["step"]: line["eval/mean_reward"] for line in lines if "eval/mean_reward" in line}
    assert len(means) >= 2
    best = read_description(run / "policies" / "best")
    first_of_the_best = min(step for step, mean in means.items() if mean == max(means.values()))
    assert (best["env_steps"], best["evaluation"]["mean"]) == (first_of_the_best, max(means.values()))
    final = mbpo_fast.load_agent(run / "policies" / "final")
    assert np.array_equal(final.act(stacks()), mbpo_fast.load_agent(run).act(stacks()))


def test_a_policy_folder_is_replaced_and_nothing_else(run: Path, folder: Path, tmp_path: Path) -> None:
    save_policy(load_policy(run / "policies" / "best"), folder)
    assert read_description(folder)["env_steps"] == read_description(run / "policies" / "best")["env_steps"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="expected a new folder or a policy folder"):
        save_policy(load_policy(run), folder)
    with pytest.raises(UsageError, match="expected a new folder or a policy folder"):
        save_policy(load_policy(run), run)
    assert (folder / "notes.txt").read_text() == "mine"
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_kill_while_a_policy_is_replaced_loses_none(run: Path, folder: Path) -> None:
    description = read_description(folder)
    old = folder.with_name(f".tmp-old-{folder.name}")
    folder.rename(old)
    assert read_description(folder) == description
    assert np.array_equal(mbpo_fast.load_agent(folder).act(stacks()), mbpo_fast.load_agent(run).act(stacks()))
    assert old.exists(), "who reads moves nothing: the one who saves may still be at it"
    save_policy(load_policy(run), folder)
    assert not old.exists()


def test_the_current_folder_is_no_policy_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="expected a new folder or a policy folder, got the current one"):
        save_policy(load_policy(run), Path("."))


def damaged(folder: Path, how: str) -> str:
    description = json.loads((folder / "config.json").read_text())
    if how == "weights":
        data = bytearray((folder / "model.safetensors").read_bytes())
        data[-1] ^= 1
        (folder / "model.safetensors").write_bytes(data)
        return r"model\.safetensors: the contents were altered"
    if how == "no weights":
        (folder / "model.safetensors").unlink()
        return r"model\.safetensors: the file is missing"
    if how == "not json":
        (folder / "config.json").write_text("{")
        return r"config\.json: not the description of a policy"
    if how == "version":
        description["format_version"] = 99
    elif how == "key":
        description["settings"]["new_key"] = 1
    elif how == "other network":
        description["settings"]["agent"]["hidden"] = 7
    (folder / "config.json").write_text(json.dumps(description))
    return {
        "version": "expected 'mbpo_fast policy' version 1, got",
        "key": "expected settings of mbpo_fast",
        "other network": "expected the weights of these settings",
    }[how]


@pytest.mark.parametrize("how", ["weights", "no weights", "not json", "version", "key", "other network"])
def test_damage_is_one_line(folder: Path, how: str) -> None:
    expected = damaged(folder, how)
    with pytest.raises(UsageError, match=expected) as caught:
        mbpo_fast.load_agent(folder)
    assert "\n" not in str(caught.value)


def test_commands(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mbpo_fast.cli import main

    folder = tmp_path / "out"
    assert main(["export", str(run), str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    result, video = tmp_path / "result.json", tmp_path / "game.gif"
    options = ["--episodes", "3", "--workers", "0", "--json", str(result), "--video", str(video)]
    assert main(["eval", str(folder), *options]) == 0
    written: dict[str, Any] = json.loads(result.read_text())
    assert written["episodes"] == 3
    assert written["video"] == str(video)
    assert video.read_bytes().startswith(b"GIF89a")
    assert f"video          {video}" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "nowhere"), str(folder)]) == 2
    assert main(["eval", str(folder), "--video", str(tmp_path / "game.avi")]) == 2
    assert main(["eval", str(folder), "--workers", "-1"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert errors[1].endswith(
        "--video: expected a file that ends in .mp4 or .gif, got " + str(tmp_path / "game.avi")
    )
    shutil.rmtree(folder)
