"""PPO on branches of the world model: what it learns from, how much of it, when; stopped and resumed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from on_policy_loops import SMALL, run, started

from mbpo_fast.agents import PolicyBatch
from mbpo_fast.config import Config, load_config
from mbpo_fast.training.branches import branches_wanted, imagined_rollout
from mbpo_fast.training.checkpoint import CheckpointStore
from mbpo_fast.training.loops import build_loop
from mbpo_fast.training.on_policy import OnPolicyTrainer

TINY = SMALL | {
    "env.num_envs": "3", "agent.rollout_steps": "20", "training.total_steps": "300",
    "training.real_ratio": "0.25", "log.every": "60",
}  # fmt: skip


def tiny(**keys: str) -> Config:
    return load_config(["catch-ppo"], TINY | {key.replace("__", "."): value for key, value in keys.items()})


class Appraiser:
    """Values and log-probabilities that can be read off the newest and the oldest frame of a stack."""

    num_actions = 3
    config = SimpleNamespace(gamma=0.5, gae_lambda=0.5)

    def appraise(self, obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        newest, oldest = obs[:, -1, 0, 0].astype(np.float32), obs[:, 0, 0, 0].astype(np.float32)
        return np.stack([newest, -oldest, newest + 0.5], axis=1), newest


def test_a_branch_is_an_episode_whose_open_end_bootstraps_from_its_last_frame() -> None:
    """By hand: a whole branch, one that the model ended, one masked after a step; gamma lambda is 1/4."""
    frames = (10 * np.arange(3)[:, None] + np.arange(5)).astype(np.uint8)
    branches = {
        "frame": np.broadcast_to(frames[:, :, None, None], (3, 5, 2, 2)).copy(),
        "action": np.array([[0, 1, 2], [2, 0, 0], [1, 0, 0]]),
        "reward": np.array([[1, 2, 3], [4, 5, 0], [6, 0, 0]], np.float32),
        "terminated": np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], bool),
        "length": np.array([3, 2, 1], np.int32),
    }
    rollout = imagined_rollout(branches, Appraiser())  # type: ignore[arg-type]
    values = [[1, 2, 3, 4], [11, 12, 13], [21, 22]]
    deltas = [
        [1 + 0.5 * 2 - 1, 2 + 0.5 * 3 - 2, 3 + 0.5 * 4 - 3],
        [4 + 0.5 * 12 - 11, 5 - 12],
        [6 + 0.5 * 22 - 21],
    ]
    advantage = [
        deltas[0][0] + deltas[0][1] / 4 + deltas[0][2] / 16,
        deltas[0][1] + deltas[0][2] / 4,
        deltas[0][2],
        deltas[1][0] + deltas[1][1] / 4,
        deltas[1][1],
        deltas[2][0],
    ]
    np.testing.assert_allclose(rollout.value, [*values[0][:3], *values[1][:2], values[2][0]])
    np.testing.assert_allclose(rollout.advantage, advantage)
    np.testing.assert_allclose(rollout.returns, rollout.advantage + rollout.value)
    assert rollout.action.tolist() == [0, 1, 2, 2, 0, 1]
    np.testing.assert_allclose(rollout.log_prob, [1, -1, 3.5, 11.5, 12, -20])
    stacks = np.empty((6, 2, 2, 2), np.uint8)
    rollout.gather(rollout.ids, stacks)
    assert stacks[:, :, 0, 0].tolist() == [[0, 1], [1, 2], [2, 3], [10, 11], [11, 12], [20, 21]]


@pytest.mark.parametrize(("rows", "ratio", "horizon", "count"), [(96, 0.25, 3, 96), (100, 0.5, 3, 34)])
def test_as_many_branches_as_the_share_asks_for(rows: int, ratio: float, horizon: int, count: int) -> None:
    assert branches_wanted(rows, ratio, horizon) == count
    imagined = count * horizon
    assert rows / (rows + imagined) <= ratio < rows / (rows + imagined - horizon)


def test_the_policy_imagines_what_it_would_do_and_never_at_random() -> None:
    loop = started(tiny())
    assert loop.imagination is not None
    with torch.no_grad():
        head = loop.agent.network.policy
        head.weight.zero_()
        head.bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
    buffer = loop.imagination.world.buffer
    loop.imagination.world.trainer.rounds = 1
    run(loop, stop_at=20)
    stored = buffer.export(buffer.oldest, buffer.total)
    steps = np.arange(stored["action"].shape[1]) < stored["length"][:, None]
    assert steps.sum() > 20
    assert set(stored["action"][steps].tolist()) == {1}


def test_every_minibatch_has_its_share_of_fresh_steps_of_the_current_policy() -> None:
    loop = started(tiny())
    update, shares, ratios = loop.agent.update, [], []

    def watched(batch: PolicyBatch, **kwargs: Any) -> Any:
        log_probs, value = loop.agent.appraise(batch.obs)
        own = np.take_along_axis(log_probs, batch.action[:, None], 1)[:, 0]
        if loop.agent.gradient_steps % 4 == 0:
            np.testing.assert_allclose(batch.log_prob, own, atol=1e-5)
            np.testing.assert_allclose(batch.value, value, atol=1e-5)
        ratios.append(np.abs(batch.log_prob - own).max())
        shares.append(len(batch.action))
        return update(batch, **kwargs)

    loop.agent.update = watched
    run(loop)
    first_without = 1 * 4  # the first rollout of 60 steps ends before the first fit at step 100
    assert max(shares[:first_without]) <= 30
    assert min(shares[first_without:]) > 3 * max(shares[:first_without])
    assert max(ratios) > 1e-4, "within an iteration the policy moves"
    rows = loop.real_rows / (loop.real_rows - 2 * 60 + loop.synthetic_rows)
    assert loop.synthetic_rows > 0
    assert rows < 0.35
    assert loop.summary()["gate_opened_at"] > 100


def test_a_shut_gate_lets_nothing_through_and_changes_nothing() -> None:
    shut = tiny(model__gate__mode="auto", model__gate__max_changed_error="0.000001")
    with_model, without = started(shut), started(tiny(training__real_ratio="1"))
    lines, plain = run(with_model), run(without)
    assert with_model.synthetic_rows == 0
    assert with_model.summary()["gate_opened_at"] is None
    kept = [(step, {k: v for k, v in line.items() if not k.startswith("model/")}) for step, line in lines]
    assert kept == plain
    assert any("model/gate_open" in line for _, line in lines)


@pytest.mark.parametrize("stop_at", [25, 41])
def test_stop_and_resume_equals_never_stopped(tmp_path: Path, stop_at: int) -> None:
    config = tiny()
    whole, first = started(config), started(config)
    lines = run(whole)
    head = run(first, stop_at)
    store = CheckpointStore(tmp_path, keep=1)
    path = store.save(first.collector.env_steps, first.state_dict(), first.buffers())
    second = build_loop(config)
    assert isinstance(second, OnPolicyTrainer)
    second.load_state_dict(CheckpointStore(tmp_path, keep=1).load(path, second.buffers()))
    assert head + run(second) == lines
    assert whole.synthetic_rows == second.synthetic_rows > 0


def test_the_oracle_imagines_for_it_too() -> None:
    loop = started(tiny(model__kind="oracle", model__oracle__every="1", model__oracle__starts="20"))
    run(loop)
    assert loop.synthetic_rows > 0
