"""The frozen policy from Python: load, act, evaluate; and the mistakes that one line answers."""

import json
from pathlib import Path

import numpy as np
import pytest

import mbpo_fast
from mbpo_fast.config import load_config
from mbpo_fast.errors import UsageError
from mbpo_fast.training.build import EVALUATION_SEED, final_seed
from mbpo_fast.training.frozen import evaluate_run
from mbpo_fast.training.run import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    overrides = {
        "training.total_steps": "240",
        "training.real_ratio": "1",
        "evaluation.final_episodes": "4",
        "video.final": "false",
        "threads": "1",
    }
    folder = tmp_path_factory.mktemp("frozen") / "run"
    assert train(load_config(["debug"], overrides), folder, config_name="debug") == 0
    return folder


def test_a_loaded_agent_acts_on_one_stack_and_on_many(run: Path) -> None:
    agent = mbpo_fast.load_agent(run)
    env = mbpo_fast.make_vec("Catch", 5)
    obs, _ = env.reset(seed=0)
    actions = agent.act(obs)
    assert actions.shape == (5,)
    assert [int(agent.act(stack)) for stack in obs] == actions.tolist()


def test_a_checkpoint_folder_is_the_run_at_that_step(run: Path) -> None:
    (checkpoint,) = (run / "checkpoints").glob("ckpt_*")
    stacks = np.random.default_rng(0).integers(0, 256, (8, 4, 36, 36), dtype=np.uint8)
    first, second = mbpo_fast.load_agent(run), mbpo_fast.load_agent(checkpoint)
    assert np.array_equal(first.act(stacks), second.act(stacks))


def test_evaluate_is_reproducible(run: Path) -> None:
    agent = mbpo_fast.load_agent(run)
    first = mbpo_fast.evaluate(agent, episodes=12, seed=3)
    assert first["scores"] == mbpo_fast.evaluate(agent, episodes=12, seed=3)["scores"]
    assert len(first["scores"]) == 12
    assert "Catch" in first["protocol"]


def test_by_default_the_games_are_those_of_the_final_evaluation(run: Path) -> None:
    agent = mbpo_fast.load_agent(run)
    told = json.loads((run / "summary.json").read_text())["agent"]
    games = told["episodes"]
    again = evaluate_run(run, episodes=games, seed=None, epsilon=None, env_id=None, num_envs=16)
    assert again == mbpo_fast.evaluate(agent, episodes=games)
    assert json.loads(json.dumps(again)) == told
    # Training began with the games of its own seed.
    assert final_seed(agent.config) not in (agent.config.seed, agent.config.seed + EVALUATION_SEED)


def test_what_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"found no config.yaml"):
        mbpo_fast.load_agent(tmp_path)


def test_a_game_that_the_agent_does_not_know_is_one_line(run: Path) -> None:
    expected = "PongNoFrameskip-v4: expected frames of 36x36 and 3 actions as in Catch, got 84x84 and 6"
    with pytest.raises(UsageError, match=expected):
        mbpo_fast.evaluate(mbpo_fast.load_agent(run), "PongNoFrameskip-v4", episodes=1)
