"""Sweep files: what is read, and that every mistake is one line with file, place, expected and got."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mbpo_fast import cli
from mbpo_fast.errors import UsageError
from mbpo_fast.sweeps.arguments import check_settings, option_words, trial_config
from mbpo_fast.sweeps.schema import read_sweep
from mbpo_fast.sweeps.space import settings_at

Write = Callable[[str], Path]
AXIS = "parameters: {seed: {values: [0, 1]}}\n"


def test_a_whole_file(write: Write) -> None:
    sweep = read_sweep(
        write(
            """
            name: lr
            method: bayes
            metric: {name: eval/mean_reward, goal: maximize, target: 9, impute: worst}
            run_cap: 40
            early_terminate: {type: hyperband, min_iter: 2, eta: 2, strict: false}
            project: mine
            program: train
            command: ["${env}", mbpo-fast, train, --config, debug, --agent.gamma=0.9, "${args}"]
            parameters:
              agent: {parameters: {learning_rate: {distribution: log_uniform_values, min: 1e-4, max: 0.01}}}
              seed: {values: [0, 1, 2]}
            """
        )
    )
    assert (sweep.name, sweep.method, sweep.limit) == ("lr", "bayes", 40)
    assert (sweep.metric.name, sweep.metric.maximize, sweep.metric.target) == ("eval/mean_reward", True, 9)
    assert sweep.early_terminate is not None
    assert sweep.early_terminate.bands[:4] == (2, 4, 8, 16)
    assert (sweep.early_terminate.eta, sweep.early_terminate.strict) == (2.0, False)
    assert sweep.options == ("--config", "debug", "--agent.gamma=0.9")
    assert [axis.name for axis in sweep.axes] == ["agent.learning_rate", "seed"]
    config = trial_config(sweep, settings_at(sweep.axes, {"agent.learning_rate": 0.002, "seed": 2}))
    assert (config.agent.learning_rate, config.seed, config.agent.gamma) == (0.002, 2, 0.9)
    assert config.env.id == "Catch"  # the preset of `command`


def test_defaults(write: Write) -> None:
    sweep = read_sweep(write("method: grid\n" + AXIS))
    assert (sweep.metric.name, sweep.metric.maximize) == ("final/agent_mean_reward", True)
    assert (sweep.limit, sweep.name, sweep.options) == (2, "sweep", ())
    assert sweep.capped(1).limit == 1
    assert sweep.capped(5).limit == 2
    assert read_sweep(write("method: random\n" + AXIS)).limit is None
    assert read_sweep(write("method: grid\nmetric: {name: x}\n" + AXIS)).metric.maximize is False


def test_bands_by_max_iter(write: Write) -> None:
    rule = "metric: {name: x}\nearly_terminate: {type: hyperband, max_iter: 27, s: 2}\n"
    early = read_sweep(write("method: grid\n" + rule + AXIS)).early_terminate
    assert early is not None
    assert (early.bands, early.eta, early.strict) == ((3, 9), 3.0, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "method: expected grid, random or bayes, got None"),
        ("method: custom\n" + AXIS, "method: expected grid, random or bayes, got 'custom'"),
        ("method: grid", "parameters: expected at least one"),
        ("method: grid\nparameters: []", "parameters: expected at least one"),
        ("methd: grid\n" + AXIS, "methd: unknown key (did you mean method?)"),
        ("method: grid\nmetrics: []\n" + AXIS, "metrics: not supported here"),
        ("method: grid\nname: 3\n" + AXIS, "name: expected text, got 3"),
        ("method: grid\nrun_cap: 0\n" + AXIS, "run_cap: expected int >= 1, got 0"),
        ("method: bayes\n" + AXIS, "metric: method bayes expects one"),
        ("method: grid\nmetric: score\n" + AXIS, "metric: expected a group with name and goal"),
        ("method: grid\nmetric: {name: x, goal: up}\n" + AXIS, "metric.goal: expected minimize or maximize"),
        (
            "method: grid\nmetric: {name: x, gaol: up}\n" + AXIS,
            "metric.gaol: unknown key (did you mean goal?)",
        ),
        ("method: grid\nearly_terminate: {type: median}\n" + AXIS, "early_terminate: expected a group with"),
        ("method: grid\nearly_terminate: {type: hyperband}\n" + AXIS, "expected min_iter, or max_iter and s"),
        (
            "method: grid\nearly_terminate: {type: hyperband, min_iter: 1, eta: 1}\n" + AXIS,
            "early_terminate.eta: expected a number > 1, got 1",
        ),
        ("method: grid\ncommand: [python, x.py, '${args}']\n" + AXIS, "command: expected a list that runs"),
        ("method: grid\ncommand: [mbpo-fast, train]\n" + AXIS, "command: expected a list that runs"),
        ("method: grid\ncommand: [mbpo-fast, train, '${args_json}']\n" + AXIS, "command: expected a list"),
        ("method: grid\ncommand: [x, train, --run, y, '${args}']\n" + AXIS, "command: expected no --run"),
        ("method: grid\nparameters: {a.b: {value: 1}, a: {parameters: {b: {value: 2}}}}", "a.b: there twice"),
        (
            "method: grid\nparameters: {config: {value: [a, b]}}",
            "parameters.config: expected a preset or file",
        ),
        ("method: grid\nmethod: grid\n" + AXIS, "duplicate key 'method'"),
    ],
)
def test_mistakes(write: Write, capsys: pytest.CaptureFixture[str], text: str, words: str) -> None:
    path = write(text)
    assert cli.main(["sweep", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"mbpo-fast: error: {path}:")
    assert words in err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("agent.lr: {value: 1}", "agent.lr: unknown key"),
        ("lr: {value: 1}", "parameters.lr: expected config, seed or a setting such as agent.learning_rate"),
        ("agent.learning_rate: {values: [0.1, -1]}", "agent.learning_rate: expected number > 0, got -1"),
        ("training.batch_size: {value: many}", "training.batch_size: expected int >= 1, got"),
        ("config: {values: [debug, dbug]}", "dbug: no such preset or file (did you mean debug?)"),
        ("seed: {values: [0, x]}", "seed: expected int >= 0"),
    ],
)
def test_settings_are_checked_before_anything_runs(write: Write, parameters: str, words: str) -> None:
    path = write(f"method: grid\nparameters:\n  {parameters}\n")
    with pytest.raises(UsageError) as error:
        check_settings(read_sweep(path))
    assert words in str(error.value)
    assert str(path) in str(error.value)


def test_every_point_of_a_grid_is_checked(grid: Path) -> None:
    assert len(check_settings(read_sweep(grid))) == 6


def test_options_are_read_back_as_the_same_values() -> None:
    settings = {
        "config": "debug",
        "seed": 3,
        "agent.learning_rate": 1.25e-05,
        "env.id": "Catch",
        "agent.bf16": "on",
        "env.max_episode_steps": None,
        "early_stopping.enabled": True,
        "training.rollout_schedule": [0, 1, 1, 2],
    }
    words = option_words(settings)
    assert words[:3] == ["--config=debug", "--seed=3", "--agent.learning_rate=1.25e-05"]
    assert "--env.id=Catch" in words
    assert "--env.max_episode_steps=null" in words
    assert option_words({"env.id": "true"}) == ['--env.id="true"']
