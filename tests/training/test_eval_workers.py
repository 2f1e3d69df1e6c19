"""Evaluation in workers: the same scores whatever their number, two halves in turn, the protocol named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mbpo_fast.config import Config, load_config
from mbpo_fast.envs import make_vec
from mbpo_fast.errors import UsageError
from mbpo_fast.training import frozen, video
from mbpo_fast.training.build import build_agent
from mbpo_fast.training.frozen import evaluate_run, play, protocol_name, record_game
from mbpo_fast.training.machine import set_up_process
from mbpo_fast.training.policy import Policy, save_policy

INVADERS = "SpaceInvadersNoFrameskip-v4"


def policy_folder(folder: Path, **overrides: str) -> Path:
    """An agent that has not learned yet plays as reproducibly as any."""
    keys = {name.replace("__", "."): value for name, value in overrides.items()}
    config = load_config(["debug"], {"threads": "1", **keys})
    set_up_process(config)
    env = make_vec(config.env.id, 1)
    agent = build_agent(config, env)
    env.close()
    return save_policy(Policy(config, agent, 0), folder)


def evaluated(folder: Path, workers: int, **options: Any) -> dict[str, Any]:
    defaults = {"episodes": 20, "seed": 4, "epsilon": 0.1, "env_id": None, "num_envs": 8}
    return evaluate_run(folder, workers=workers, **(defaults | options))


def test_workers_do_not_change_a_catch_result(tmp_path: Path) -> None:
    folder = policy_folder(tmp_path / "policy")
    alone = evaluated(folder, 0)
    assert len(set(alone["scores"])) > 1
    assert evaluated(folder, 1) == alone
    assert evaluated(folder, 2) == alone
    assert evaluated(folder, 0, seed=5)["scores"] != alone["scores"]


@pytest.mark.slow
def test_workers_do_not_change_a_space_invaders_result(tmp_path: Path) -> None:
    folder = policy_folder(tmp_path / "policy", env__id=INVADERS)
    alone = evaluated(folder, 0, episodes=4, num_envs=3)
    assert max(alone["scores"]) > 0
    assert evaluated(folder, 1, episodes=4, num_envs=3) == alone
    assert evaluated(folder, 2, episodes=4, num_envs=3) == alone


def test_by_default_every_thread_of_the_run_has_two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    build = frozen.build_eval_env

    def build_eval_env(config: Config, **options: Any) -> Any:
        asked.append((options["first_lane"], options["num_envs"], options["workers"]))
        return build(config, **(options | {"workers": 0}))

    monkeypatch.setattr(frozen, "build_eval_env", build_eval_env)
    config = load_config(["debug"], {"threads": "3", "evaluation.num_envs": "5"})
    agent = Recorder()
    play(config, agent, episodes=12, seed=0)  # type: ignore[arg-type]
    play(config, agent, episodes=2, seed=0)  # type: ignore[arg-type]
    play(config, agent, episodes=12, seed=0, workers=1)  # type: ignore[arg-type]
    play(config, agent, episodes=1, seed=0)  # type: ignore[arg-type]
    assert asked == [(0, 3, 3), (3, 2, 2), (0, 1, 1), (1, 1, 1), (0, 3, 1), (3, 2, 0), (0, 1, 1)]
    assert agent.batches == {3, 2, 1}, "each half acts by one batch of one size"


class Recorder:
    """Acts by zeros on the frames of Catch and notes the sizes of the batches."""

    frame_shape = (36, 36)
    num_actions = 3

    def __init__(self) -> None:
        self.batches: set[int] = set()

    def act(self, obs: np.ndarray, epsilon: float, **_: Any) -> np.ndarray:
        self.batches.add(len(obs))
        return np.zeros(len(obs), np.int64)


@pytest.mark.parametrize(
    ("env_id", "sticky", "expected"),
    [
        (INVADERS, "null", f"{INVADERS} (v4: no sticky actions, up to 30 no-ops)"),
        ("ALE/Pong-v5", "null", "ALE/Pong-v5 (v5: sticky actions 0.25, up to 30 no-ops)"),
        (INVADERS, "0.25", f"{INVADERS} (v5: sticky actions 0.25, up to 30 no-ops)"),
        (INVADERS, "0.1", f"{INVADERS} (neither v4 nor v5: sticky actions 0.1, up to 30 no-ops)"),
        ("Catch", "null", "Catch"),
    ],
)
def test_the_protocol_has_a_name(env_id: str, sticky: str, expected: str) -> None:
    config = load_config(["ddqn"], {"env.id": env_id, "env.repeat_action_probability": sticky})
    assert protocol_name(config) == expected


def test_another_environment_has_its_own_protocol() -> None:
    config = load_config(["ddqn"], {})
    assert "v5" in protocol_name(config, "ALE/SpaceInvaders-v5")


def test_the_video_shows_the_first_game_of_the_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    monkeypatch.setattr(frozen, "write_video", lambda path, frames, fps: shown.append(len(frames)) or path)
    result = evaluated(policy_folder(tmp_path / "policy"), 0, video=tmp_path / "game.gif")
    assert shown == [result["lengths"][0] + 1]
    assert result["video"] == str(tmp_path / "game.gif")


def test_mp4_without_pyav_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "find_spec", lambda name: None)
    config = load_config(["debug"], {})
    with pytest.raises(UsageError, match=r'pip install "mbpo_fast\[video\]"'):
        record_game(config, Recorder(), tmp_path / "game.mp4", seed=0)  # type: ignore[arg-type]
    assert record_game(config, Recorder(), tmp_path / "game", seed=0).name == "game.gif"  # type: ignore[arg-type]
