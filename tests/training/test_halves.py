"""`training.halves`: PPO acts on one half of the environments while the other steps, and learns the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from on_policy_loops import SMALL, assert_resumes_like_never_stopped, run, same, started

from mbpo_fast.config import Config, load_config
from mbpo_fast.errors import UsageError
from mbpo_fast.training.checkpoint import CheckpointStore
from mbpo_fast.training.loops import build_loop
from mbpo_fast.training.on_policy import OnPolicyTrainer

TINY = SMALL | {
    "env.num_envs": "5", "threads": "1", "agent.rollout_steps": "16", "training.total_steps": "410",
    "training.real_ratio": "1", "log.every": "1000",
}  # fmt: skip


def tiny(*, halves: bool = True, **keys: str) -> Config:
    overrides = {key.replace("__", "."): value for key, value in keys.items()}
    return load_config(["catch-ppo"], TINY | {"training.halves": str(halves).lower()} | overrides)


def by_single_rows(loop: OnPolicyTrainer) -> OnPolicyTrainer:
    """Appraise row by row, so that no sum depends on how many rows are asked about at once."""
    appraise = loop.agent.appraise

    def single(obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_probs, values = zip(*(appraise(obs[i : i + 1]) for i in range(len(obs))), strict=True)
        return np.concatenate(log_probs), np.concatenate(values)

    loop.agent.appraise = single  # type: ignore[method-assign]
    return loop


def finished(config: Config) -> OnPolicyTrainer:
    loop = by_single_rows(started(config))
    run(loop)
    return loop


ORACLE = {"model__kind": "oracle", "model__oracle__every": "3", "model__oracle__starts": "20"}


@pytest.mark.parametrize(
    "keys",
    [{}, {"env__workers": "2"}, {"training__real_ratio": "0.25"}, {"training__real_ratio": "0.25"} | ORACLE],
    ids=["plain", "workers", "branches", "oracle"],
)
def test_it_ends_in_the_state_of_the_plain_loop(keys: dict[str, str]) -> None:
    """Environments, scores, the rollout under way, weights and moments, losses, kept states: all."""
    ours, plain = finished(tiny(**keys)), finished(tiny(halves=False, **keys))
    assert plain.collector.games > 10
    assert plain.agent.gradient_steps >= 5 * 4
    assert 0 < plain.parts.storage.filled < 16, "the budget ends within a rollout"
    assert same(ours.state_dict(), plain.state_dict())
    assert same(replayed(ours), replayed(plain))
    assert ours.synthetic_rows == plain.synthetic_rows
    assert (plain.synthetic_rows > 0) == ("training__real_ratio" in keys)
    for loop in (ours, plain):
        loop.collector.env.close()


def replayed(loop: OnPolicyTrainer) -> dict[str, Any]:
    replay = loop.parts.replay
    return replay.export(replay.oldest, replay.total)


@pytest.mark.parametrize("real_ratio", ["1", "0.25"])
def test_the_same_metrics_twice_and_with_any_number_of_workers(real_ratio: str) -> None:
    runs = []
    for workers in ("0", "0", "1", "2"):
        loop = started(tiny(env__workers=workers, training__real_ratio=real_ratio, log__every="50"))
        runs.append(run(loop))
        loop.collector.env.close()
    assert len(runs[0]) >= 5
    assert all(other == runs[0] for other in runs[1:])


def test_one_half_steps_while_the_other_is_decided_for() -> None:
    loop = started(tiny())
    parts, decide = loop.collector.env.parts, loop.agent.decide
    flying: set[int] = set()
    seen: list[tuple[int, set[int]]] = []

    def watch(half: int, begin: Callable[..., Any], end: Callable[..., Any]) -> None:
        parts[half].step_async = lambda action: (flying.add(half), begin(action))[1]  # type: ignore
        parts[half].step_wait = lambda: (flying.remove(half), end())[1]  # type: ignore[method-assign]

    for half, part in enumerate(parts):
        watch(half, part.step_async, part.step_wait)
    loop.agent.decide = lambda obs, **key: (  # type: ignore[method-assign]
        seen.append((0 if len(obs) == 3 else 1, set(flying))),
        decide(obs, **key),
    )[1]
    loop._iterate()
    assert seen == [(0, set()), (1, {0}), *[(0, {1}), (1, {0})] * 15]
    assert not flying, "nothing is under way between iterations"


@pytest.mark.parametrize("stop_at", [16, 40])
def test_stop_and_resume_equals_never_stopped(tmp_path: Path, stop_at: int) -> None:
    assert_resumes_like_never_stopped(tiny(training__real_ratio="0.25", log__every="50"), stop_at, tmp_path)


def test_a_larger_budget_goes_on_in_the_middle_of_a_rollout(tmp_path: Path) -> None:
    short, whole = (
        finished(tiny()),
        finished(tiny(training__total_steps="600", agent__anneal_learning_rate="false")),
    )
    assert short.parts.storage.filled > 0
    short = finished(tiny(agent__anneal_learning_rate="false"))
    path = CheckpointStore(tmp_path, keep=1).save(1, short.state_dict(), short.buffers())
    second = build_loop(tiny(training__total_steps="600", agent__anneal_learning_rate="false"))
    assert isinstance(second, OnPolicyTrainer)
    second.load_state_dict(CheckpointStore(tmp_path, keep=1).load(path, second.buffers()))
    run(by_single_rows(second))
    assert same(second.state_dict(), whole.state_dict())


@pytest.mark.parametrize(
    ("preset", "keys", "got"),
    [
        ("catch", {}, "ddqn and 4"),
        ("catch-sac", {}, "sac and"),
        ("catch-ppo", {"env.num_envs": "1"}, "ppo and 1"),
    ],
)
def test_who_cannot_use_it_is_told(preset: str, keys: dict[str, str], got: str) -> None:
    with pytest.raises(
        UsageError, match=rf"training.halves expects agent.kind ppo and env.num_envs >= 2, got {got}"
    ):
        load_config([preset], {"training.halves": "true"} | keys)
