"""Whole runs with every switch of DDQN on: the same seed twice, and stopped and resumed."""

import json
from pathlib import Path

import pytest
import torch

from mbpo_fast.config import load_config
from mbpo_fast.training.build import Parts, build
from mbpo_fast.training.checkpoint import CheckpointStore
from mbpo_fast.training.mbpo import Metrics, Trainer
from mbpo_fast.training.timer import PhaseTimer

ALL_ON = {
    "threads": "1", "training.learning_starts": "60", "training.total_steps": "140", "log.every": "20",
    "training.updates_per_step": "0.5", "training.batch_size": "8", "agent.hidden": "16",
    "agent.distribution": "c51", "agent.prioritized": "true", "agent.n_step_start": "5",
    "agent.gamma_start": "0.9", "agent.anneal_steps": "15", "agent.reset_every": "16",
    "agent.random_shift": "2",
}  # fmt: skip
WITHOUT_MODEL = ALL_ON | {"training.real_ratio": "1"}
WITH_MODEL = ALL_ON | {"model.first_updates": "3", "model.updates": "2", "model.train_freq": "40"}


def run(
    settings: dict[str, str], *, stop_at: int | None = None, store: CheckpointStore | None = None
) -> tuple[Parts, list[tuple[int, str]]]:
    """Train on Catch from the store's checkpoint or the start; returns the parts and the logged metrics."""
    config = load_config(["debug"], settings)
    parts = build(config)
    trainer, logged = Trainer(parts, PhaseTimer()), []
    latest = store.latest() if store else None
    if latest is None:
        parts.collector.start(config.seed)
    else:
        trainer.load_state_dict(store.load(latest, parts.buffers()))
    trainer.train(
        on_log=lambda step, metrics: logged.append((step, as_text(metrics))),
        on_save=lambda step: store and store.save(step, trainer.state_dict(), parts.buffers()),
        on_evaluate=dict,
        interrupted=lambda: stop_at is not None and parts.collector.env_steps >= stop_at,
    )
    return parts, logged


def as_text(metrics: Metrics) -> str:
    """A metric that is not defined yet is a NaN, which as a number would differ from itself."""
    return json.dumps(metrics, sort_keys=True)


def assert_same(first: Parts, second: Parts) -> None:
    for name in ("online", "target"):
        own, other = (getattr(parts.agent, name).state_dict() for parts in (first, second))
        assert all(torch.equal(own[key], other[key]) for key in own)
    ids = first.replay.valid_ids(context=1)
    assert (first.replay.priorities(ids) == second.replay.priorities(ids)).all()


@pytest.mark.parametrize("settings", [WITHOUT_MODEL, WITH_MODEL], ids=["ddqn", "mbpo"])
def test_the_same_seed_gives_the_same_metrics_twice(settings: dict[str, str]) -> None:
    (first, metrics), (second, again) = run(settings), run(settings)
    assert metrics == again
    assert len(metrics) >= 6
    assert first.agent.gradient_steps == 40
    assert (first.sampler.synthetic_rows > 0) == (settings is WITH_MODEL)
    assert_same(first, second)
    other, _ = run(settings | {"seed": "1"})
    assert not torch.equal(other.agent.online.advantage.weight, first.agent.online.advantage.weight)


@pytest.mark.parametrize("settings", [WITHOUT_MODEL, WITH_MODEL], ids=["ddqn", "mbpo"])
def test_stopped_and_resumed_equals_never_stopped(tmp_path: Path, settings: dict[str, str]) -> None:
    whole, metrics = run(settings)
    store = CheckpointStore(tmp_path, keep=2)
    _, before = run(settings, stop_at=97, store=store)
    resumed, after = run(settings, store=CheckpointStore(tmp_path, keep=2))
    assert before + after == metrics
    assert_same(whole, resumed)


def test_learning_changes_the_priorities_and_n() -> None:
    parts, _ = run(WITHOUT_MODEL)
    ids = parts.replay.valid_ids(context=1)
    assert len(set(parts.replay.priorities(ids).tolist())) > 20
    # 40 updates, resets after 16 and 32: 8 of the 15 annealing steps are over, 5 * 0.6 ** (8 / 15) = 3.8.
    assert parts.agent.n_step == 4
