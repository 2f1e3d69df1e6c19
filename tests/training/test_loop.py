"""What every loop shares: which end has been reached."""

import pytest

from mbpo_fast.config import load_config
from mbpo_fast.training.build import build
from mbpo_fast.training.mbpo import Trainer
from mbpo_fast.training.timer import PhaseTimer

TINY = {
    "threads": "1", "training.real_ratio": "1", "training.total_steps": "400", "agent.hidden": "16",
    "early_stopping.window_size": "5", "early_stopping.target_reward": "2", "early_stopping.enabled": "true",
}  # fmt: skip


def loop(**keys: str) -> Trainer:
    overrides = TINY | {key.replace("__", "."): value for key, value in keys.items()}
    return Trainer(build(load_config(["debug"], overrides)), PhaseTimer())


@pytest.mark.parametrize(
    ("scores", "enabled", "end"),
    [
        ([2, 2, 2, 2], "true", ""),
        ([2, 2, 2, 2, 2], "true", "early_stopping"),
        ([0, 3, 3, 3, 1], "true", "early_stopping"),
        ([2, 2, 2, 2, 1.9], "true", ""),
        ([9, 9, 0, 0, 0, 0, 0], "true", ""),
        ([5, 5, 5, 5, 5], "false", ""),
    ],
)
def test_training_ends_early_at_the_mean_of_a_full_window(
    scores: list[float], enabled: str, end: str
) -> None:
    trainer = loop(early_stopping__enabled=enabled)
    trainer.collector.scores.extend(scores)
    assert trainer.finished() == end
    trainer.collector.env_steps = 400
    assert trainer.finished() == (end or "total_steps")
    trainer.collector.env.close()


def test_a_run_that_reaches_its_target_stops_there() -> None:
    trainer = loop(early_stopping__target_reward="-1")
    trainer.collector.start(0)
    verdict = trainer.train(
        on_log=lambda step, metrics: None,
        on_save=lambda step: None,
        on_evaluate=dict,
        interrupted=lambda: False,
    )
    assert verdict == "early_stopping"
    assert trainer.collector.games in range(5, 10)
    assert trainer.collector.env_steps < 400
    trainer.collector.env.close()
