"""What every loop shares: which end has been reached, evaluations that are owed."""

import copy
from typing import Any

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


def test_an_evaluation_that_a_signal_cuts_short_is_played_when_the_run_goes_on() -> None:
    logged: dict[str, list[tuple[int, float]]] = {"whole": [], "stopped": []}

    def run(name: str, state: dict[str, Any] | None, cut_at: int | None) -> dict[str, Any]:
        trainer = loop(evaluation__every="100", early_stopping__enabled="false", log__every="100000")
        noted: list[bool] = []
        trainer.collector.start(0)
        if state is not None:
            trainer.load_state_dict(state["loop"])
            trainer.parts.replay.restore(*state["replay"])

        def evaluate() -> dict[str, float]:
            step = trainer.collector.env_steps
            if cut_at is not None and step >= cut_at:
                noted.append(True)
                return {}
            return {"eval/mean_reward": float(trainer.agent.gradient_steps)}

        verdict = trainer.train(
            on_log=lambda step, metrics: logged[name].append((step, metrics["eval/mean_reward"])),
            on_save=lambda step: None,
            on_evaluate=evaluate,
            interrupted=lambda: bool(noted),
        )
        assert verdict == ("total_steps" if cut_at in (None, 400) else "interrupted")
        trainer.collector.env.close()
        replay = trainer.parts.replay
        segments = [(replay.oldest, replay.export(replay.oldest, replay.total))]
        return {"loop": trainer.state_dict(), "replay": (replay.state(), segments)}

    run("whole", None, None)
    assert [step // 100 for step, _ in logged["whole"]] == [1, 2, 3, 4]
    for cut_at in (200, 400):
        logged["stopped"].clear()
        state = run("stopped", None, cut_at)
        assert len(logged["stopped"]) == cut_at // 100 - 1
        run("stopped", copy.deepcopy(state), None)
        assert logged["stopped"] == logged["whole"]
