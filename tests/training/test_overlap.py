"""`training.overlap`: in which order it acts, steps and learns, and that the seed alone decides the rest."""

import json
from pathlib import Path

import pytest

from mbpo_fast.config import load_config
from mbpo_fast.training.build import build
from mbpo_fast.training.checkpoint import CheckpointStore
from mbpo_fast.training.mbpo import Trainer
from mbpo_fast.training.timer import PhaseTimer

TINY = {
    "threads": "1", "training.learning_starts": "60", "training.total_steps": "140", "log.every": "20",
    "training.updates_per_step": "0.5", "training.batch_size": "8", "agent.hidden": "16",
    "model.first_updates": "3", "model.updates": "2", "model.train_freq": "40", "training.overlap": "true",
}  # fmt: skip


def started(**keys: str) -> Trainer:
    overrides = TINY | {key.replace("__", "."): value for key, value in keys.items()}
    parts = build(load_config(["debug"], overrides))
    parts.collector.start(0)
    return Trainer(parts, PhaseTimer())


def run(trainer: Trainer, stop_at: float = float("inf")) -> list[str]:
    """The logged metrics, as text: a NaN would differ from itself."""
    logged: list[str] = []
    trainer.train(
        on_log=lambda step, metrics: logged.append(json.dumps({"step": step} | metrics, sort_keys=True)),
        on_save=lambda step: None,
        on_evaluate=dict,
        interrupted=lambda: trainer.collector.env_steps >= stop_at,
    )
    trainer.collector.env.close()
    return logged


@pytest.mark.parametrize("real_ratio", ["0.5", "1"])
def test_the_same_metrics_twice_and_with_any_number_of_workers(real_ratio: str) -> None:
    runs = [
        run(started(env__workers=workers, training__real_ratio=real_ratio))
        for workers in ("0", "0", "1", "3")
    ]
    assert all(other == runs[0] for other in runs[1:])
    assert runs[0] != run(started(training__real_ratio=real_ratio, training__overlap="false"))


@pytest.mark.parametrize("overlap", ["true", "false"])
def test_learning_happens_while_a_step_is_under_way_and_from_the_steps_before_it(overlap: str) -> None:
    trainer = started(training__overlap=overlap, training__updates_per_step="1")
    agent, collector = trainer.parts.agent, trainer.parts.collector
    update, act, begin, end = agent.update, agent.act, collector.begin_step, collector.end_step
    under_way = False
    events: list[tuple[str, bool, int]] = []

    def note(name: str) -> None:
        events.append((name, under_way, collector.env_steps))

    def watched_begin(action: object) -> None:
        nonlocal under_way
        begin(action)
        under_way = True

    def watched_end() -> int:
        nonlocal under_way
        under_way = False
        return end()

    agent.update = lambda batch: (note("update"), update(batch))[1]
    agent.act = lambda *args, **kwargs: (note("act"), act(*args, **kwargs))[1]
    collector.begin_step, collector.end_step = watched_begin, watched_end
    run(trainer)
    updates = [(flying, step) for name, flying, step in events if name == "update"]
    assert {flying for flying, _ in updates} == {overlap == "true"}
    assert not any(flying for name, flying, _ in events if name == "act")
    # One update a step after learning_starts, all in the iteration that they are due in or the one after it.
    assert len(updates) == (collector.env_steps if overlap == "false" else updates[-1][1]) - 60
    for i, (name, _, step) in enumerate(events):
        if name == "update" and events[i - 1][0] == "act":
            assert events[i - 1][2] == step if overlap == "true" else events[i - 1][2] < step


def test_stop_and_resume_equals_never_stopped(tmp_path: Path) -> None:
    whole, first = run(started()), started()
    head = run(first, stop_at=90)
    store = CheckpointStore(tmp_path, keep=1)
    path = store.save(first.collector.env_steps, first.state_dict(), first.parts.buffers())
    parts = build(load_config(["debug"], TINY))
    second = Trainer(parts, PhaseTimer())
    second.load_state_dict(store.load(path, parts.buffers()))
    assert head + run(second) == whole
