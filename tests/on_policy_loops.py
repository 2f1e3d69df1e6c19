"""Starts and runs PPO's loop without a run folder; compares states."""

import numpy as np
import torch

from mbpo_fast.config import Config
from mbpo_fast.training.loops import build_loop
from mbpo_fast.training.on_policy import OnPolicyTrainer


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
