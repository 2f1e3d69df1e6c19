"""PPO's loop: what it learns from, how it anneals, and that stopping changes nothing."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from on_policy_loops import assert_resumes_like_never_stopped, run, same, started

from mbpo_fast.agents import Decision, PolicyBatch, PPOConfig
from mbpo_fast.config import Config, load_config
from mbpo_fast.data import ReplayBuffer
from mbpo_fast.training.rollout_storage import RolloutStorage

TINY = {
    "env.id": "Catch",
    "env.num_envs": "3",
    "threads": "1",
    "agent.hidden": "16",
    "agent.bf16": "false",
    "agent.rollout_steps": "8",
    "agent.epochs": "2",
    "agent.minibatches": "2",
    "training.total_steps": "220",
    "log.every": "50",
    "checkpoint.every": "1000",
}


def tiny(**keys: str) -> Config:
    return load_config(["ppo"], TINY | {key.replace("__", "."): value for key, value in keys.items()})


@pytest.mark.parametrize("stop_at", [5, 8, 9, 43])
def test_stop_and_resume_equals_never_stopped(tmp_path: Path, stop_at: int) -> None:
    """In the middle of a rollout, at its end and after it; the checkpoint goes through the disk."""
    whole = assert_resumes_like_never_stopped(tiny(), stop_at, tmp_path)
    assert whole.agent.gradient_steps >= 4 * 9


def test_the_same_seed_gives_the_same_metrics_and_another_one_others() -> None:
    first, again, other = (run(started(tiny(seed=seed))) for seed in ("3", "3", "4"))
    assert first == again
    assert first != other


def test_learning_rate_and_clip_range_fall_by_the_share_of_steps_left() -> None:
    loop = started(tiny(agent__anneal_clip_range="true"))
    seen: list[float] = []
    update, act = loop.agent.update, loop._act

    def watched_update(batch: PolicyBatch, *, remaining: float) -> dict[str, torch.Tensor]:
        metrics = update(batch, remaining=remaining)
        assert loop.agent.optimizer.param_groups[0]["lr"] == pytest.approx(2.5e-4 * remaining)
        assert float(metrics["learning_rate"]) == pytest.approx(2.5e-4 * remaining)
        assert float(metrics["clip_range"]) == pytest.approx(0.1 * remaining)
        seen.append(remaining)
        return metrics

    loop.agent.update = watched_update
    starts: list[int] = []

    def watched_act() -> None:
        if loop.parts.storage.filled == 0:
            starts.append(loop.collector.env_steps)
        act()

    loop._act = watched_act
    run(loop)
    expected = [1 - start / 220 for start in starts for _ in range(4)]
    assert seen == pytest.approx(expected[: len(seen)])
    assert len(seen) >= 36


def test_annealing_is_a_switch() -> None:
    loop = started(tiny(agent__anneal_learning_rate="false"))
    lines = run(loop)
    rates = {round(line["train/learning_rate"], 8) for _, line in lines}
    assert rates == {2.5e-4}


class Script:
    """A replay buffer with one lane whose rows a test writes by hand."""

    def __init__(self, steps: int) -> None:
        self.replay = ReplayBuffer(64, 1, frame_shape=(36, 36))
        self.storage = RolloutStorage(self.replay, steps, stack_size=4)
        self.rows = 0

    def add(self, *, action: int = 0, reward: float = 0.0, end: str = "", first: bool = False) -> None:
        frame = np.full((1, 36, 36), self.rows, np.uint8)
        self.replay.add(frame, [action], [reward], [end == "terminated"], [end == "truncated"], [first])
        self.rows += 1

    def step(self, value: float, **row: object) -> None:
        self.storage.note(
            Decision(np.zeros(1, np.int64), np.full(1, -value, np.float32), np.full(1, value, np.float32))
        )
        self.add(**row)


def test_reset_rows_are_left_out_and_a_truncated_step_bootstraps_from_its_own_last_frame() -> None:
    script = Script(5)
    script.add(first=True)
    script.step(1.0, action=1, reward=2.0)
    script.step(2.0, action=2, reward=3.0, end="truncated")
    script.step(50.0, first=True)  # 50: the value of the true last frame, which the reset row's decision saw
    script.step(4.0, action=1, reward=5.0, end="terminated")
    script.step(60.0, first=True)
    assert script.storage.full
    settings = PPOConfig(gamma=0.5, gae_lambda=0.5)
    rollout = script.storage.take(np.full(1, 7.0, np.float32), settings)
    delta = [2 + 0.5 * 2 - 1, 3 + 0.5 * 50 - 2, 5 - 4]
    np.testing.assert_allclose(rollout.advantage, [delta[0] + 0.25 * delta[1], delta[1], delta[2]])
    np.testing.assert_allclose(rollout.value, [1, 2, 4])
    np.testing.assert_allclose(rollout.log_prob, [-1, -2, -4])
    np.testing.assert_allclose(rollout.returns, rollout.advantage + rollout.value)
    assert rollout.action.tolist() == [1, 2, 1]
    newest = script.replay.stacks(rollout.ids, 4)[:, -1, 0, 0]
    assert newest.tolist() == [0, 1, 3], "the stack that each action was drawn on"


def test_a_rollout_goes_on_where_the_last_one_ended() -> None:
    script = Script(2)
    script.add(first=True)
    for round_ in range(3):
        for _ in range(2):
            script.step(0.0, reward=1.0)
        rollout = script.storage.take(np.full(1, 8.0, np.float32), PPOConfig(gamma=0.5, gae_lambda=1.0))
        assert rollout.ids.tolist() == [2 * round_, 2 * round_ + 1]
        np.testing.assert_allclose(rollout.advantage, [1 + 0.5 + 0.25 * 8, 1 + 0.5 * 8])


def test_a_pass_meets_every_step_once_in_an_order_of_its_own() -> None:
    script = Script(20)
    script.add(first=True)
    for i in range(20):
        script.step(float(i), action=i, reward=1.0)
    rollout = script.storage.take(np.zeros(1, np.float32), PPOConfig())
    orders = []
    for step in (0, 0, 1):
        seen: list[int] = []
        sizes = []
        for batch in script.storage.minibatches([rollout], 3, seed=1, step=step):
            assert batch.obs[:, -1, 0, 0].tolist() == batch.action.tolist() == batch.value.tolist()
            sizes.append(len(batch.obs))
            seen += batch.action.tolist()
        assert sizes == [7, 7, 6]
        assert sorted(seen) == list(range(20))
        orders.append(seen)
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_the_storage_keeps_its_rollout_in_a_checkpoint() -> None:
    script = Script(4)
    script.add(first=True)
    script.step(1.0)
    script.step(2.0)
    twin = RolloutStorage(script.replay, 4, stack_size=4)
    twin.load_state_dict(copy.deepcopy(script.storage.state_dict()))
    assert twin.filled == 2
    assert same(twin.state_dict(), script.storage.state_dict())
