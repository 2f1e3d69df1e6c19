"""Which games choose the best policy and which are reported, and how the frozen policy acts in them."""

from pathlib import Path
from typing import Any

import pytest

from mbpo_fast.config import load_config
from mbpo_fast.training import run as runs
from mbpo_fast.training.build import EVALUATION_SEED, build_eval_env, final_seed
from mbpo_fast.training.run import train


def test_reported_games_are_others_than_those_that_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[tuple[int, float | None]] = []
    play = runs.play

    def spy(*arguments: Any, **named: Any) -> Any:
        played.append((named["seed"], named.get("epsilon")))
        return play(*arguments, **named)

    monkeypatch.setattr(runs, "play", spy)
    keys = {
        "seed": "7", "threads": "1", "training.total_steps": "200", "evaluation.every": "100",
        "evaluation.episodes": "2", "evaluation.final_episodes": "2", "evaluation.random_baseline": "true",
        "evaluation.epsilon": "0.125", "video.final": "false", "training.real_ratio": "1",
    }  # fmt: skip
    config = load_config(["debug"], keys)
    assert train(config, tmp_path / "run", config_name="debug") == 0
    on_the_way, final = 7 + EVALUATION_SEED, final_seed(config)
    assert len({7, on_the_way, final}) == 3
    assert set(played[:-2]) == {(on_the_way, None)}
    assert len(played) >= 4
    assert played[-2:] == [(final, 0.125), (final, 1.0)]


def test_evaluation_ends_no_game_at_a_lost_life_and_keeps_scores_raw() -> None:
    config = load_config(["ppo"], {})
    assert config.env.episodic_life
    env = build_eval_env(config, num_envs=1)
    assert not env.settings.episodic_life
    assert not env.settings.clip_reward
    env.close()
