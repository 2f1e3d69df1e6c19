"""Starts and runs PPO's loop without a run folder; compares states."""

from pathlib import Path

import numpy as np
import torch

from mbpo_fast.config import Config
from mbpo_fast.training.checkpoint import CheckpointStore
from mbpo_fast.training.loops import build_loop
from mbpo_fast.training.on_policy import OnPolicyTrainer

SMALL = {
    "agent.hidden": "16", "agent.bf16": "false", "agent.epochs": "2", "agent.minibatches": "2",
    "model.width": "4", "model.ensemble_size": "2", "model.num_elites": "1", "model.first_updates": "4",
    "model.updates": "2", "model.check_every": "2", "model.train_freq": "100", "model.gate.mode": "off",
    "training.model_rollout_length": "2", "early_stopping.enabled": "false",
}  # fmt: skip
"""Settings of `catch-ppo` for a model and updates that take no time."""


def started(config: Config) -> OnPolicyTrainer:
    loop = build_loop(config)
    assert isinstance(loop, OnPolicyTrainer)
    loop.collector.start(config.seed)
    return loop


def run(loop: OnPolicyTrainer, stop_at: float = float("inf")) -> list[tuple[int, dict[str, float]]]:
    lines: list[tuple[int, dict[str, float]]] = []
    loop.train(
        on_log=lambda step, metrics: lines.append((step, metrics)),
        on_save=lambda step: None,
        on_evaluate=dict,
        interrupted=lambda: loop.collector.iterations >= stop_at,
    )
    return lines


def same(a: object, b: object) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return bool(np.array_equal(a, b))


def assert_resumes_like_never_stopped(config: Config, stop_at: int, folder: Path) -> OnPolicyTrainer:
    """Stops after `stop_at` iterations, goes on from a checkpoint on disk; returns the loop never stopped."""
    whole, first = started(config), started(config)
    lines = run(whole)
    head = run(first, stop_at)
    path = CheckpointStore(folder, keep=1).save(
        first.collector.env_steps, first.state_dict(), first.buffers()
    )
    second = build_loop(config)
    assert isinstance(second, OnPolicyTrainer)
    second.load_state_dict(CheckpointStore(folder, keep=1).load(path, second.buffers()))
    assert head + run(second) == lines
    assert same(second.state_dict(), whole.state_dict())
    return whole
