"""Buffers from settings: what does not fit into memory is one line that names the key."""

import pytest

from mbpo_fast.config import load_config
from mbpo_fast.errors import UsageError
from mbpo_fast.models import WorldModel
from mbpo_fast.training.build import build
from mbpo_fast.training.build_buffers import build_model_buffer, build_replay


def test_settings_reach_what_they_are_for() -> None:
    keys = {
        "training.model_n_step": "3", "model.weight_decay": "0.25", "training.model_retain_epochs": "3",
        "training.epoch_length": "1000", "model.train_freq": "300", "training.model_rollout_batch_size": "7",
    }  # fmt: skip
    parts = build(load_config(["debug"], keys))
    assert parts.sampler.model_n_step == 3
    assert parts.world is not None
    assert isinstance(parts.world.model, WorldModel)
    assert [group["weight_decay"] for group in parts.world.model.optimizer.param_groups] == [0.25]
    assert parts.world.buffer.capacity == 7 * 10, "3,000 steps have ten rounds of 300"
    parts.collector.env.close()


def test_buffers_too_large_for_the_memory_are_one_line() -> None:
    config = load_config(["debug"], {"replay.capacity": str(10**10)})
    with pytest.raises(UsageError, match=r"replay.capacity: .* got 10,000,000,000, which takes 70,560 GB"):
        build_replay(config, (84, 84))
    many = {"training.model_rollout_batch_size": str(10**9)}
    for keys, line in (
        ({}, "training.model_rollout_batch_size: .* got 1,000,000,000, which"),
        ({"model.kind": "oracle", "model.oracle.starts": "77"}, "model.oracle.starts: .* got 77, which"),
        ({"model.kind": "oracle", "model.oracle.starts": str(10**10)}, "training.model_rollout_batch_size: "),
    ):
        with pytest.raises(UsageError, match=line):
            build_model_buffer(load_config(["debug"], many | keys), (84, 84), 10**10)
    with pytest.raises(UsageError, match=r"agent.rollout_steps: .* got 128, which"):
        build_model_buffer(load_config(["catch-ppo"], {"agent.rollout_steps": "128"}), (84, 84), 10**10)
