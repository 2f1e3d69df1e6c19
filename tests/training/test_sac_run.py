"""The loop drives SAC as it drives DDQN: a whole run on Catch, alone and below MBPO, stopped and resumed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mbpo_fast.agents import SAC
from mbpo_fast.config import load_config
from mbpo_fast.ops import Stream
from mbpo_fast.training.policy import load_policy, save_policy
from mbpo_fast.training.run import train

TINY = """
threads: 1
env: {id: Catch}
agent: {kind: sac, hidden: 16, random_shift: 1, epsilon: 0.05, target_period: 2}
model:
  {context: 4, width: 8, depth: 1, outcome_width: 8, ensemble_size: 2, num_elites: 1, first_updates: 4,
   updates: 2, check_every: 2, train_freq: 50, gate: {mode: "off"}}
training:
  {total_steps: 240, learning_starts: 100, batch_size: 8, updates_per_step: 0.25, model_rollout_length: 2,
   model_rollout_batch_size: 16}
replay: {capacity: 300}
early_stopping: {enabled: false}
evaluation: {final_episodes: 2, num_envs: 2}
log: {every: 40, tensorboard: false}
video: {every: 0, final: false}
"""


def run(folder: Path, **overrides: str) -> Path:
    source = folder.parent / "tiny.yaml"
    source.write_text(TINY)
    assert train(load_config([str(source)], overrides), folder, config_name="tiny") == 0
    return folder


def metrics(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines]


@pytest.mark.parametrize("real_ratio", ["0.5", "1"])
def test_a_resumed_run_equals_one_that_never_stopped(tmp_path: Path, real_ratio: str) -> None:
    settings = {"training.real_ratio": real_ratio}
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    run(whole, **settings)
    run(halves, **settings, **{"training.total_steps": "160"})
    run(halves, **settings)
    assert metrics(halves) == metrics(whole)
    last = metrics(whole)[-1]
    assert (last["data/synthetic_rows"] > 0) == (real_ratio != "1")
    assert last["train/ent_coef"] != 0.05, "the temperature must have been tuned"
    first, second = (load_policy(folder).agent.state_dict() for folder in (whole, halves))
    for part in ("actor", "critics", "targets", "optimizer"):
        assert all(torch.equal(first[part][name], second[part][name]) for name in first[part])
    assert torch.equal(first["log_alpha"], second["log_alpha"])


def test_a_policy_folder_acts_like_the_run_that_it_came_from(tmp_path: Path) -> None:
    policy = load_policy(run(tmp_path / "run", **{"training.real_ratio": "1"}))
    twin = load_policy(save_policy(policy, tmp_path / "policy"))
    assert isinstance(twin.agent, SAC)
    obs = np.random.default_rng(0).integers(0, 256, (200, 4, 36, 36)).astype(np.uint8)
    draws = {"seed": 7, "stream": Stream.EXPLORE, "step": 5}
    assert np.array_equal(policy.agent.act(obs, 0.0, **draws), twin.agent.act(obs, 0.0, **draws))
