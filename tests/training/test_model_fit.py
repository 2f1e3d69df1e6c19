"""`mbpo-fast model-fit`: play, rounds, checkpoint and curve of a tiny fit; one line a mistake."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mbpo_fast import cli
from mbpo_fast.config import load_config
from mbpo_fast.data import ReplayBuffer
from mbpo_fast.errors import UsageError
from mbpo_fast.training.build_buffers import build_replay
from mbpo_fast.training.fit_settings import NUM_ENVS, FitOptions, fit_config
from mbpo_fast.training.logger import read_metrics
from mbpo_fast.training.model_eval import load_model
from mbpo_fast.training.model_fit import CURVE_FILE, _digest, fit_model
from mbpo_fast.training.run import train

TINY = {
    "training.total_steps": "40",
    "training.learning_starts": "40",
    "evaluation.final_episodes": "0",
    "video.final": "false",
    "threads": "1",
}
SIZES = {"model.arch": "grid", "model.width": "8", "model.ensemble_size": "2", "model.num_elites": "1"}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model_fit") / "run"
    assert train(load_config(["debug"], TINY), folder, config_name="debug") == 0
    return folder


def test_the_command_writes_a_checkpoint_that_model_eval_reads(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = [word for key, value in SIZES.items() for word in (f"--{key}", value)]
    budget = ["--steps", "700", "--updates", "6", "--check-every", "4", "--seed", "5"]
    assert cli.main(["model-fit", str(policy), "--run", str(tmp_path / "fit"), *budget, *sizes]) == 0
    out = capsys.readouterr().out
    assert "4 updates" in out
    assert "changed pixels" in out
    curve = [json.loads(line) for line in (tmp_path / "fit" / "model_fit.jsonl").read_text().splitlines()]
    assert [line["updates"] for line in curve] == [4, 8], "whole rounds"
    assert 0 < curve[0]["cpu_seconds"] < curve[1]["cpu_seconds"]
    loaded = load_model(tmp_path / "fit")
    assert (loaded.config.seed, loaded.config.model.arch) == (5, "grid")
    assert loaded.model.gradient_steps == 8
    assert 700 - NUM_ENVS < loaded.env_steps <= 700


def test_half_of_the_lanes_play_by_the_policy(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    monkeypatch.setattr(
        "mbpo_fast.training.model_fit.build_replay",
        lambda *arguments: kept.append(build_replay(*arguments)) or kept[0],
    )
    options = FitOptions(steps=1600, updates=1, check_every=1, epsilon=0.0)
    fit_model(policy, tmp_path / "fit", SIZES, options, lambda _: None)
    replay = kept[0]
    ids = replay.valid_ids(1)
    action = replay.gather(ids).action
    agent = load_model(tmp_path / "fit").agent
    greedy = agent.act(replay.gather(ids).obs, 0.0, seed=0, stream=1, step=0)
    by_policy = ids % NUM_ENVS < NUM_ENVS // 2
    assert (action == greedy)[by_policy].all()
    assert (action == greedy)[~by_policy].mean() < 0.7


def test_a_folder_that_holds_something_is_refused(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["model-fit", str(policy), "--run", str(policy)]) == 2
    assert "expected a new folder" in capsys.readouterr().err
    assert cli.main(["model-fit", str(policy), "--run", "x", "--updates", "0"]) == 2
    assert "--updates: expected at least 1, got 0" in capsys.readouterr().err


def test_a_fit_that_was_stopped_before_its_first_checkpoint_begins_anew(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, options = tmp_path / "fit", FitOptions(700, updates=4, check_every=4)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("mbpo_fast.training.model_fit._play", stopped)
        with pytest.raises(KeyboardInterrupt):
            fit_model(policy, run, SIZES, options, lambda _: None)
    (run / CURVE_FILE).write_text('{"step": 4}\n{"st')  # killed between the curve and the checkpoint
    (run / ".tmp-config.yaml").touch()
    with pytest.raises(UsageError, match=r"model\.width"):
        fit_model(policy, run, SIZES | {"model.width": "12"}, options, lambda _: None)
    fit_model(policy, run, SIZES, options, lambda _: None)
    assert [line["step"] for line in read_metrics(run, CURVE_FILE)] == [4]


def test_a_fit_does_not_go_on_with_other_games(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "fit"
    fit_model(policy, run, SIZES, FitOptions(700, updates=4, check_every=4), lambda _: None)
    unchanged = (run / CURVE_FILE).read_bytes()
    fit_model(policy, run, SIZES, FitOptions(700, updates=4, check_every=4), lambda _: pytest.fail("done"))
    # As another processor might choose between nearly equal actions.
    monkeypatch.setattr(
        "mbpo_fast.training.model_fit.by_agent_and_chance",
        lambda agent, obs, *_, **__: np.zeros(len(obs), np.int64),
    )
    with pytest.raises(UsageError, match="games that came out otherwise"):
        fit_model(policy, run, SIZES, FitOptions(700, updates=8, check_every=4), lambda _: None)
    assert (run / CURVE_FILE).read_bytes() == unchanged


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("env.id", "PongNoFrameskip-v4", "--env.id: expected a setting of model, seed"),
        ("agent.hidden", "64", "--agent.hidden: expected a setting of model, seed"),
        ("training.real_ratio", "1", "--training.real_ratio: expected a setting of model"),
        ("model.kind", "oracle", "--model.kind: expected learned, got oracle"),
        ("model.widht", "8", "did you mean"),
    ],
)
def test_what_is_not_a_fits_to_choose_is_one_line(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, value: str, expected: str
) -> None:
    assert cli.main(["model-fit", str(policy), "--run", str(tmp_path / "fit"), f"--{key}", value]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "fit").exists()


def test_a_round_has_one_check_at_its_end() -> None:
    config = fit_config(load_config(["debug"], {}), {}, FitOptions(check_every=300))
    assert (config.model.first_updates, config.model.updates, config.model.check_every) == (300, 300, 300)


def fitted(run: Path) -> dict[str, torch.Tensor]:
    return load_model(run).model.state_dict()["members"]


def test_a_fit_goes_on_as_if_it_had_never_stopped(policy: Path, tmp_path: Path) -> None:
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    fit_model(policy, stopped, SIZES, FitOptions(700, updates=4, check_every=4), lambda _: None)
    with (stopped / CURVE_FILE).open("a") as curve:  # killed before the checkpoint of the next round
        curve.write('{"step": 8, "updates": 8.0}\n')
    fit_model(policy, stopped, SIZES, FitOptions(700, updates=8, check_every=4), lambda _: None)
    fit_model(policy, whole, SIZES, FitOptions(700, updates=8, check_every=4), lambda _: None)
    weights = fitted(whole)
    assert all(torch.equal(weights[name], x) for name, x in fitted(stopped).items())
    curves = [
        [json.loads(line) for line in (run / CURVE_FILE).read_text().splitlines()] for run in (stopped, whole)
    ]
    for curve in curves:
        assert [line["updates"] for line in curve] == [4, 8]
        assert curve[0].pop("cpu_seconds") < curve[1].pop("cpu_seconds")
    assert curves[0] == curves[1]


def test_a_fit_goes_on_only_with_its_own_settings_and_policy(policy: Path, tmp_path: Path) -> None:
    run, other = tmp_path / "fit", tmp_path / "other"
    fit_model(policy, run, SIZES, FitOptions(700, updates=1, check_every=1), lambda _: None)
    assert train(load_config(["debug"], TINY | {"seed": "9"}), other, config_name="debug") == 0
    for path, sizes, options, expected in (
        (policy, SIZES | {"model.width": "16"}, FitOptions(700, check_every=1), "model.width"),
        (policy, SIZES, FitOptions(700, check_every=1, epsilon=0.5), "--epsilon"),
        (policy, SIZES, FitOptions(690, check_every=1), "--steps"),
        (other, SIZES | {"seed": "0"}, FitOptions(700, check_every=1), "another policy"),
    ):
        with pytest.raises(UsageError, match=expected):
            fit_model(path, run, sizes, options, lambda _: None)


def test_few_steps_of_a_policy_that_learned_from_unclipped_rewards(tmp_path: Path) -> None:
    keys = TINY | {"training.real_ratio": "1", "env.clip_reward": "false"}
    assert train(load_config(["debug"], keys), tmp_path / "run", config_name="debug") == 0
    options = FitOptions(steps=40, updates=1, check_every=1)
    checkpoint = fit_model(tmp_path / "run", tmp_path / "fit", SIZES, options, lambda _: None)
    assert load_model(checkpoint).env_steps == 32


def test_games_with_another_action_or_frame_are_other_games() -> None:
    def digest(change: str = "") -> str:
        replay = ReplayBuffer(40, 2, frame_shape=(8, 8), seed=0)
        for step in range(12):
            columns = {
                "frame": np.full((2, 8, 8), step, np.uint8),
                "action": np.full(2, step % 3),
                "reward": np.zeros(2, np.float32),
                "terminated": np.zeros(2, bool),
                "truncated": np.zeros(2, bool),
                "first": np.full(2, step == 0),
            }
            if change and step == 7:
                columns[change][0] += 1
            replay.add(*columns.values())
        return _digest(replay)

    assert digest() == digest()
    assert len({digest(), digest("action"), digest("frame"), digest("reward")}) == 4


def test_checkpoints_without_settings_are_no_fit(policy: Path, tmp_path: Path) -> None:
    run = shutil.copytree(policy, tmp_path / "run")
    (run / "config.yaml").unlink()
    before = sorted(run.rglob("*"))
    with pytest.raises(UsageError, match=r"expected a new folder or a fit, got checkpoints without config"):
        fit_model(policy, run, SIZES, FitOptions(700, updates=1, check_every=1), lambda _: None)
    assert sorted(run.rglob("*")) == before
