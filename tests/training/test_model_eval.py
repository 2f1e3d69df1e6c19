"""`mbpo-fast model-eval`: table, JSON, page and video of a tiny run; fresh games; one line a mistake."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mbpo_fast import cli
from mbpo_fast.config import load_config, resolved_yaml
from mbpo_fast.envs import GameVectorEnv, make_vec
from mbpo_fast.models.filmstrip import GAP, MARKED, PLAIN, filmstrip
from mbpo_fast.models.report_card import report_card
from mbpo_fast.models.voices import predict_all
from mbpo_fast.ops import Stream, random_integers
from mbpo_fast.training.build import build_model
from mbpo_fast.training.checkpoint import CheckpointStore
from mbpo_fast.training.fresh_games import play_fresh_games
from mbpo_fast.training.model_eval import GameOptions, evaluate_model, load_model
from mbpo_fast.training.policy import fresh_agent
from mbpo_fast.training.run import train

TINY = {
    "training.total_steps": "240",
    "training.learning_starts": "120",
    "training.updates_per_step": "0.1",
    "model.first_updates": "20",
    "model.updates": "5",
    "evaluation.final_episodes": "0",
    "video.final": "false",
    "threads": "1",
}
ARGUMENTS = ["--steps", "150", "--threshold-steps", "60", "--num-envs", "4", "--starts", "40"]


def tiny_run(folder: Path, **overrides: str) -> Path:
    config = load_config(["debug"], TINY | {key.replace("__", "."): x for key, x in overrides.items()})
    assert train(config, folder, config_name="debug") == 0
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("model_eval") / "run")


def test_it_writes_all_that_it_says(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: tmp_path / name for name in ("card.json", "strip.gif", "card.html")}
    outputs = ["--json", files["card.json"], "--video", files["strip.gif"], "-o", files["card.html"]]
    assert cli.main(["model-eval", str(run), *ARGUMENTS, *map(str, outputs)]) == 0
    out = capsys.readouterr().out
    for words in (
        "grid, 2 members",
        "half of them by random actions",
        "reward F1",
        "changed pixels",
        "10 steps",
    ):
        assert words in out
    result = json.loads(files["card.json"].read_text())
    assert result["env_id"] == "Catch"
    assert result["model"]["gradient_steps"] > 0
    assert set(result["seeds"]) == {"games", "threshold_games", "shuffle", "run"}
    assert {"processor", "torch"} <= set(result["machine"])
    card = result["card"]
    assert card["rows"] >= 150
    assert card["rewarded"] == card["ended"] == card["rows"] / 11
    assert len(card["members"]) == 2
    page = files["card.html"].read_text()
    assert page.count("<svg") == 2
    assert "image/gif" in page
    assert f"rewards have an F1 of {round(card['decided']['reward']['f1'], 3):g} and ends" in page
    assert "NaN" not in page.upper().replace("&NBSP;", "").split("<STYLE>")[0]
    with Image.open(files["strip.gif"]) as image:
        assert image.size == (4 * 36 + 3 * GAP, 36)


def test_the_figures_are_those_of_the_saved_model_on_the_games_it_names(run: Path) -> None:
    options = GameOptions(steps=60, threshold_steps=30, num_envs=2, seed=3)
    result = evaluate_model(run, options, starts=20)
    loaded = load_model(run)
    games = []
    for key, steps in (("games", 60), ("threshold_games", 30)):
        seed = result["seeds"][key]
        env = make_vec("Catch", 2, seed=seed)
        games.append(
            play_fresh_games(env, loaded.agent, steps=steps, seed=seed, players="mixed", epsilon=0.05)
        )
    card = report_card(loaded.model, games[0].episodes, calibration=games[1].episodes, starts=20, seed=3)
    assert card.to_dict() == result["card"]
    assert len({*result["seeds"].values()} - {3}) == 3, "training, judging and thresholds on other seeds"
    heard: list[str] = []
    again = evaluate_model(run, options, starts=20, say=heard.append)
    assert heard == ["playing 60 and 30 steps", f"judging 2 members on {result['card']['rows']} steps"]
    assert again["card"] == result["card"]
    (checkpoint,) = (run / "checkpoints").glob("ckpt_*240")
    assert evaluate_model(checkpoint, options, starts=20)["card"] == result["card"]


def test_the_loaded_model_has_the_weights_of_the_run(run: Path) -> None:
    model = load_model(run).model
    checkpoint = max((run / "checkpoints").glob("ckpt_*"))
    saved = CheckpointStore(run / "checkpoints", keep=1).load(checkpoint, {})["trainer"]["parts"]["model"]
    assert model.gradient_steps == saved["gradient_steps"] >= 20
    for name, weights in model.members.state_dict().items():
        assert torch.equal(weights, saved["members"][name]), name
    for name in ("reward_threshold", "end_threshold"):
        assert getattr(model, name) == saved[name]
    assert model.reward_threshold != 0.5 or model.end_threshold != 0.5
    fresh = build_model(load_config([str(run / "config.yaml")], {}), (24, 24), 3)
    assert not all(
        torch.equal(x, y) for x, y in zip(model.members.parameters(), fresh.members.parameters(), strict=True)
    )


class Counting:
    """Plays STAY and counts the rows that it was asked for."""

    num_actions = 3

    def __init__(self) -> None:
        self.rows = 0

    def act(self, obs: Any, epsilon: float, *, seed: int, stream: Stream, step: int) -> Any:
        self.rows += len(obs)
        return np.ones(len(obs), np.int64)


@pytest.mark.parametrize(("players", "by_agent"), [("mixed", 2), ("random", 0), ("agent", 4)])
def test_fresh_games_are_whole_and_shared_out(players: Any, by_agent: int) -> None:
    env = make_vec("Catch", 4, seed=9)
    agent: Any = Counting()
    games = play_fresh_games(env, agent, steps=100, seed=9, players=players, epsilon=0.0)
    assert [len(episode.action) for episode in games.episodes] == [11] * games.whole
    assert games.cut == 0
    assert 100 <= 11 * games.whole < 100 + 4 * 11
    stays = [bool((episode.action == 1).all()) for episode in games.episodes]
    assert stays.count(True) == games.whole * by_agent / 4
    assert (agent.rows == 0) == (by_agent == 0)
    ends = [episode.terminated.nonzero()[0].tolist() for episode in games.episodes]
    assert ends == [[10]] * games.whole
    assert all(set(episode.reward[:-1]) <= {0.0} and episode.reward[-1] != 0 for episode in games.episodes)


def test_fresh_games_hold_what_the_environment_showed() -> None:
    games = play_fresh_games(
        make_vec("Catch", 2, seed=5), Counting(), steps=30, seed=5, players="random", epsilon=0.0  # type: ignore[arg-type]
    )  # fmt: skip
    env = make_vec("Catch", 2, seed=5)
    env.reset(seed=5)
    frames = [env.newest_frames()]
    for step in range(11):
        env.step(random_integers(5, Stream.EXPLORE, step, 2, 3, word=1))
        frames.append(env.newest_frames())
    assert np.array_equal(games.episodes[0].frames, np.stack(frames)[:, 0])


def test_a_game_without_end_is_cut() -> None:
    class Endless:
        """One pixel that counts; no game is ever over."""

        num_envs = 2

        def reset(self, seed: int) -> Any:
            self.count = 0
            return np.zeros((2, 4, 4, 4), np.uint8), {}

        def newest_frames(self) -> Any:
            return np.full((2, 4, 4), self.count % 256, np.uint8)

        def step(self, action: Any) -> Any:
            self.count += 1
            no = np.zeros(2, bool)
            return np.zeros((2, 4, 4, 4), np.uint8), np.zeros(2), no, no, {"reset": no, "game_over": no}

    env: GameVectorEnv = Endless()  # type: ignore[assignment]
    games = play_fresh_games(env, Counting(), steps=10, seed=0, players="random", epsilon=0.0)  # type: ignore[arg-type]
    assert (games.whole, games.cut) == (0, 2)
    assert [len(episode.action) for episode in games.episodes] == [15, 15]


def test_the_strip_shows_real_imagined_and_their_difference(run: Path) -> None:
    loaded = load_model(run)
    env = make_vec("Catch", 2, seed=5)
    games = play_fresh_games(env, loaded.agent, steps=10, seed=5, players="random", epsilon=0.0)
    episode = games.episodes[0]
    strip = list(filmstrip(loaded.model, episode, refresh=4))
    assert len(strip) == len(episode.action)
    width, context = 36 + GAP, loaded.config.model.context
    assert [int(picture[0, 36]) == MARKED for picture in strip] == [t % 4 == 0 for t in range(11)]
    assert strip[1][0, 36] == PLAIN
    seen = episode.frames[[0] * context]
    for t, picture in enumerate(strip[:4]):
        *_, ensemble = predict_all(loaded.model, seen[None], episode.action[t : t + 1])
        real, imagined, difference = (picture[:, i * width : i * width + 36] for i in range(3))
        assert np.array_equal(real, episode.frames[t + 1])
        assert np.array_equal(imagined, ensemble.frame[0])
        assert np.array_equal(difference, np.abs(real.astype(int) - imagined))
        seen = np.concatenate([seen[1:], ensemble.frame])
    *_, fresh = predict_all(loaded.model, episode.frames[None, 1:5], episode.action[4:5])
    assert np.array_equal(strip[4][:, width : width + 36], fresh.frame[0])
    with pytest.raises(ValueError, match="refresh >= 1"):
        next(filmstrip(loaded.model, episode, refresh=0))


def test_a_fresh_agent_plays_the_runs_game() -> None:
    agent = fresh_agent(load_config(["debug"], {"threads": "1"}))
    assert (agent.frame_shape, agent.num_actions) == ((36, 36), 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "0"], "--steps: expected at least 1, got 0"),
        (["--starts", "0"], "--starts: expected at least 1"),
        (["--refresh", "0"], "--refresh: expected at least 1"),
        (["--threshold-steps", "-1"], "--threshold-steps: expected at least 1"),
        (["--num-envs", "1"], "--num-envs: expected at least 2"),
        (["--epsilon", "2"], "--epsilon: expected 0 to 1"),
        (["--seed", "-1"], "--seed: expected 0 to"),
        (["--policy", "best"], "mixed"),
        (["--json", "/nowhere/at/all.json"], "--json: expected a file in a folder that exists"),
        (["-o", "/nowhere/at/all.html"], "--output: expected a file in a folder that exists"),
        (["--json", "/"], "--json: expected a file in a folder that exists, got /"),
        (["--video", "strip.avi"], "--video: expected a file that ends in .mp4 or .gif"),
        (["--env", "Pong-v4"], "Pong"),
        (
            ["--env", "PongNoFrameskip-v4", "--num-envs", "2"],
            "expected frames of 36x36 and 3 actions as in Catch",
        ),
    ],
)
def test_a_mistake_is_one_line(
    run: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["model-eval", str(run), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


@pytest.mark.parametrize(
    ("setting", "command"),
    [("model.width", "model-eval"), ("agent.hidden", "eval"), ("agent.hidden", "train")],
)
def test_weights_of_other_networks_are_one_line(
    run: Path, setting: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    # As if the version that made the run had built this network twice as wide.
    config = load_config([str(copy / "config.yaml")], {})
    section, key = setting.split(".")
    width = 2 * getattr(getattr(config, section), key)
    changed = load_config([str(copy / "config.yaml")], {setting: str(width), "training.total_steps": "300"})
    (copy / "config.yaml").write_text(resolved_yaml(changed))
    arguments = (
        ["--config", str(copy / "config.yaml"), "--run", str(copy)] if command == "train" else [str(copy)]
    )
    assert cli.main([command, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected weights for the networks of mbpo_fast" in line


def test_what_has_no_trained_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = tiny_run(tmp_path / "real", training__real_ratio="1")
    early = tiny_run(tmp_path / "early", training__total_steps="100")
    capsys.readouterr()
    for folder, words in (
        (tmp_path, "expected a run, a checkpoint or a policy folder"),
        (real, "expected a run with a learned world model, got one with training.real_ratio 1"),
        (early, "expected a trained world model, got one before its first fit"),
        (real / "policies" / "final", "expected a run"),
    ):
        assert cli.main(["model-eval", str(folder)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
