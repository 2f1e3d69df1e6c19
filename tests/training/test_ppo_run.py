"""A PPO run from `train` to its policy folder: what evaluation, export and reports make of it."""

from pathlib import Path

import numpy as np
import pytest

import mbpo_fast
from mbpo_fast.agents import PPO
from mbpo_fast.config import load_config
from mbpo_fast.training.build import build
from mbpo_fast.training.dry_run import describe_run
from mbpo_fast.training.networks import describe_networks
from mbpo_fast.training.policy import load_policy
from mbpo_fast.training.run import train

TINY = {
    "env.id": "Catch",
    "threads": "1",
    "agent.hidden": "16",
    "agent.rollout_steps": "16",
    "training.total_steps": "300",
    "evaluation.final_episodes": "4",
    "log.every": "100",
    "video.every": "0",
    "video.final": "false",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ppo") / "run"
    assert train(load_config(["ppo"], TINY), folder, config_name="ppo") == 0
    return folder


def test_run_checkpoint_and_policy_folder_hold_the_same_policy(run: Path) -> None:
    stacks = np.random.default_rng(0).integers(0, 256, (64, 4, 36, 36), dtype=np.uint8)
    agents = [mbpo_fast.load_agent(path) for path in (run, run / "policies" / "final")]
    first, second = (agent.act(stacks) for agent in agents)
    assert np.array_equal(first, second)
    policy = load_policy(run)
    assert isinstance(policy.agent, PPO)
    assert policy.agent.gradient_steps == 16 * (300 // (8 * 16))


def test_a_loaded_policy_draws_anew_at_every_call(run: Path) -> None:
    agent, twin = mbpo_fast.load_agent(run), mbpo_fast.load_agent(run)
    stacks = np.zeros((64, 4, 36, 36), np.uint8)
    actions = [agent.act(stacks) for _ in range(2)]
    assert not np.array_equal(*actions)
    assert np.array_equal(actions, [twin.act(stacks) for _ in range(2)])
    assert agent.act(stacks[0]).shape == ()


def test_the_card_the_report_and_the_summary_call_it_ppo(run: Path) -> None:
    card = (run / "policies" / "final" / "README.md").read_text(encoding="utf-8")
    assert "# PPO on Catch" in card
    assert "| `agent.kind` | ppo | ddqn |" in card
    assert "| `agent.hidden` | 16 | 512 |" in card
    assert "`agent.n_step`" not in card, "a key that this kind does not have"
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "PPO on Catch" in page
    assert "Divergence" in page
    assert '"algorithm": "ppo"' in (run / "summary.json").read_text()


def test_dry_run_and_networks(tmp_path: Path) -> None:
    config = load_config(["ppo"], TINY)
    rows = dict(describe_run(config, tmp_path / "run"))
    assert (rows["learner"], rows["steps"]) == ("ppo", "300, all by the policy")
    assert rows["updates"] == "about 32 of the policy"
    (row,) = describe_networks(config)
    assert row["name"] == "policy (PPO)"
    assert row["output"] == "f32 [B, 3], f32 [B]"
    assert row["status"] == "ok"


def test_the_off_policy_parts_are_not_for_ppo() -> None:
    with pytest.raises(ValueError, match="expected an off-policy learner, got ppo"):
        build(load_config(["ppo"], TINY))
