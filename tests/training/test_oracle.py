"""A run with `model.kind: oracle`: nothing to fit, the gate open, resumed exactly, and Catch is learned."""

import json
from pathlib import Path

import numpy as np
import pytest

from mbpo_fast import cli
from mbpo_fast.config import load_config
from mbpo_fast.models.oracle import Oracle
from mbpo_fast.training.build import EVALUATION_SEED, build, build_eval_env
from mbpo_fast.training.evaluation import evaluate_policy
from mbpo_fast.training.machine import set_up_process
from mbpo_fast.training.mbpo import Trainer
from mbpo_fast.training.networks import describe_networks
from mbpo_fast.training.run import train
from mbpo_fast.training.timer import PhaseTimer

TINY = {
    "model.kind": "oracle",
    "model.gate.mode": "auto",
    "model.oracle.every": "3",
    "model.oracle.starts": "20",
    "training.total_steps": "400",
    "training.learning_starts": "150",
    "training.updates_per_step": "0.2",
    "training.model_rollout_length": "2",
    "training.model_rollout_batch_size": "64",
    "model.train_freq": "50",
    "evaluation.final_episodes": "0",
    "video.final": "false",
    "video.every": "0",
    "log.every": "50",
    "threads": "1",
}


def test_a_run_reports_an_exact_oracle_and_learns_from_its_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(load_config(["debug"], TINY), tmp_path / "run", config_name="debug") == 0
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert {line["model/oracle_exact"] for line in lines if "model/oracle_exact" in line} == {1.0}
    assert lines[-1]["data/synthetic_rows"] > 0
    assert lines[-1]["model/gate_open"] == 1.0
    assert "oracle: the emulator itself" in (tmp_path / "run/report.html").read_text()
    capsys.readouterr()
    assert cli.main(["model-eval", str(tmp_path / "run")]) == 2
    assert (
        "expected a run with a learned world model, got one with model.kind oracle" in capsys.readouterr().err
    )


def parts_after(total_steps: int) -> Trainer:
    config = load_config(["debug"], TINY | {"training.total_steps": str(total_steps)})
    set_up_process(config)
    parts = build(config)
    parts.collector.start(config.seed)
    trainer = Trainer(parts, PhaseTimer())
    trainer.train(
        on_log=lambda step, metrics: None,
        on_save=lambda step: None,
        on_evaluate=dict,
        interrupted=lambda: False,
    )
    return trainer


def test_its_branches_in_the_buffer_are_real_and_bounded() -> None:
    parts = parts_after(200).parts
    assert parts.world is not None
    assert isinstance(parts.world.model, Oracle)
    buffer = parts.world.buffer
    assert buffer.total == 20 * parts.world.trainer.rounds, "model.oracle.starts bounds a rollout"
    assert buffer.capacity == 20 * -(-1000 // parts.config.model.train_freq), "one epoch of such rollouts"
    rows = buffer.sample(200)
    # The ball of Catch falls a row a step; the paddle moves by at most one cell.
    for obs, following, action in zip(rows.obs[:, -1], rows.next_obs[:, -1], rows.action, strict=True):
        ball, fallen = (int((frame == 255).any(axis=1).argmax()) for frame in (obs, following))
        assert fallen == ball + 3
        left, moved = (int((frame[-1] == 160).argmax()) for frame in (obs, following))
        if fallen < 33:
            assert moved == min(max(left + 3 * (int(action) - 1), 0), 27)
    ends = rows.terminated
    assert (np.abs(rows.reward) == ends).all()
    assert ends.any()


def test_stop_and_resume_is_never_stopped(tmp_path: Path) -> None:
    keys = {"checkpoint.every": "200"}
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert train(load_config(["debug"], TINY | keys), whole, config_name="debug") == 0
    half = TINY | keys | {"training.total_steps": "200"}
    assert train(load_config(["debug"], half), halves, config_name="debug") == 0
    assert train(load_config(["debug"], TINY | keys), halves, config_name="debug") == 0
    one, two = (folder / "checkpoints/ckpt_000000400/tensors.safetensors" for folder in (whole, halves))
    assert one.read_bytes() == two.read_bytes()


def test_there_is_no_network_to_describe_and_the_dry_run_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(["debug"], TINY)
    assert [row["name"] for row in describe_networks(config)] == ["policy (DDQN)"]
    command = [
        "train",
        "--config",
        "debug",
        "--model.kind",
        "oracle",
        "--dry-run",
        "--run",
        str(tmp_path / "x"),
    ]
    assert cli.main(command) == 0
    assert "the emulator itself, 50 % of the rows stay real" in capsys.readouterr().out


def test_without_a_kept_state_it_is_one_line() -> None:
    config = load_config(["debug"], TINY)
    parts = build(config)
    assert parts.collector.states is not None
    parts.collector.states.due = lambda slot: False  # type: ignore[method-assign]
    parts.collector.start(0)
    with pytest.raises(Exception, match=r"model.oracle.every: expected a kept state"):
        Trainer(parts, PhaseTimer()).train(
            on_log=lambda step, metrics: None,
            on_save=lambda step: None,
            on_evaluate=dict,
            interrupted=lambda: False,
        )


@pytest.mark.learning
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_catch_is_learned_with_the_oracle(seed: int) -> None:
    overrides = {"seed": str(seed), "model.kind": "oracle", "model.oracle.every": "1"}
    overrides |= {
        "evaluation.every": "100",
        "early_stopping.enabled": "false",
        "training.total_steps": "2000",
    }
    config = load_config(["catch"], overrides)
    set_up_process(config)
    parts = build(config)
    parts.collector.start(config.seed)
    returns = [0.0]

    def evaluate() -> dict[str, float]:
        env = build_eval_env(config, num_envs=10, workers=0)
        result = evaluate_policy(
            parts.agent, [env], episodes=100, seed=seed + EVALUATION_SEED, epsilon=0.0, protocol="greedy"
        )
        returns.append(result.mean)
        return {}

    Trainer(parts, PhaseTimer()).train(
        on_log=lambda step, metrics: None,
        on_save=lambda step: None,
        on_evaluate=evaluate,
        interrupted=lambda: returns[-1] >= 0.8,
    )
    print(seed, parts.collector.env_steps, returns[-1])
    assert returns[-1] >= 0.8
