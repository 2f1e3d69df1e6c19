"""Presets, files and overrides become a Config, or one line that says what is wrong."""

from pathlib import Path

import pytest

from mbpo_fast.agents import DDQNConfig, PPOConfig
from mbpo_fast.config import (
    Config,
    config_schema_rows,
    differences,
    load_config,
    preset_names,
    resolved_yaml,
)
from mbpo_fast.errors import UsageError

PPO = {"agent.kind": "ppo", "training.real_ratio": "1"}


def message(sources: list[str], overrides: dict[str, str] | None = None) -> str:
    with pytest.raises(UsageError) as raised:
        load_config(sources, overrides or {})
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "x.yaml"


def test_nothing_given_is_the_defaults() -> None:
    assert load_config([], {}) == Config()


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_its_resolved_form_is_itself(name: str, file: Path) -> None:
    config = load_config([name], {})
    file.write_text(resolved_yaml(config))
    assert load_config(["x.yaml"], {}) == config


def test_later_sources_win_group_by_group(file: Path) -> None:
    file.write_text("training: {total_steps: 5, batch_size: 7}\nmodel: {gate: {min_holdout: 3}}")
    overrides = {"training.batch-size": "9", "model.gate.mode": "off", "env.id": "ALE/Pong-v5"}
    config = load_config(["mbpo", "x.yaml"], overrides)
    assert config.training.total_steps == 5
    assert config.training.batch_size == 9
    assert (config.model.gate.min_holdout, config.model.gate.mode) == (3, "off")
    assert config.env.id == "ALE/Pong-v5"


def test_values_of_every_kind() -> None:
    config = load_config(
        [],
        {
            "training.total_steps": "1e6",
            "agent.learning_rate": "3e-4",
            "agent.gamma": "1",
            "env.fire-reset": "false",
            "training.rollout_schedule": "[0, 10, 1, 5]",
            "threads": "null",
        },
    )
    assert config.training.total_steps == 1_000_000
    assert config.agent.learning_rate == 3e-4
    assert config.agent.gamma == 1.0
    assert config.env.fire_reset is False
    assert config.training.rollout_schedule == (0, 10, 1, 5)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("env: {id: 3}", "x.yaml: env.id: expected text, got 3"),
        ("env: 3", "x.yaml: env: expected a group of settings, got 3"),
        ("seed: true", "x.yaml: seed: expected int >= 0, < 2147483648, got true"),
        ("seed: '1'", 'x.yaml: seed: expected int >= 0, < 2147483648, got "1"'),
        ("seed: 2.5", "x.yaml: seed: expected int >= 0, < 2147483648, got 2.5"),
        ("seed: 010", 'x.yaml: seed: expected int >= 0, < 2147483648, got "010"'),
        ("env: {episodic_life: yes}", 'x.yaml: env.episodic_life: expected true | false, got "yes"'),
        ("env: {episodic_life: 1}", "x.yaml: env.episodic_life: expected true | false, got 1"),
        ("agent: {gamma: .nan}", 'x.yaml: agent.gamma: expected number > 0, <= 1, got ".nan"'),
        ("agent: {gamma: 0}", "x.yaml: agent.gamma: expected number > 0, <= 1, got 0"),
        ("model: {arch: gird}", 'x.yaml: model.arch: expected clock | grid | nature, got "gird"'),
        ("threads: 0", "x.yaml: threads: expected int >= 1 or null, got 0"),
        (
            "training: {rollout_schedule: [1, 2]}",
            "x.yaml: training.rollout_schedule: expected [int, int, int, int] or null, got [1, 2]",
        ),
        (
            "training: {total_steps: 0, batch_size: 0}",
            "x.yaml: training.total_steps: expected int >= 1, got 0 (and 1 more)",
        ),
        ("model: {num_elites: 9}", "x.yaml: model: num_elites 9 exceeds ensemble_size 5"),
        ('env: {id: "\\ud800"}', "x.yaml: expected UTF-8 text"),
        *(
            (
                f"model: {{kind: oracle, {key}}}",
                "x.yaml: model: kind oracle expects propagation member, uncertainty.measure false, "
                "mask_share 0, bonus 0",
            )
            for key in (
                "propagation: mean",
                "uncertainty: {measure: true}",
                "uncertainty: {mask_share: 0.1}",
                "uncertainty: {bonus: 1}",
            )
        ),
        (
            "{model: {kind: oracle}, rollout: {backend: cpu}}",
            "x.yaml: model.kind oracle expects rollout.backend auto or torch, got cpu",
        ),
        (
            "model: {num_elites: 1, uncertainty: {mask_share: 0.5}}",
            "x.yaml: model: uncertainty.mask_share and bonus expect elites that can disagree, "
            "got num_elites 1",
        ),
        (
            "training: {rollout_schedule: [0, 1, 1, 65]}",
            "x.yaml: training: rollout_schedule expects 0 <= first <= last and 1 <= short <= long <= 64, "
            "got (0, 1, 1, 65)",
        ),
    ],
)
def test_wrong_values_in_a_file(file: Path, content: str, expected: str) -> None:
    file.write_text(content)
    assert message(["x.yaml"]) == expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("training.batch-size", "0", "--training.batch_size: expected int >= 1, got 0"),
        ("training.batch_size", "", "--training.batch_size: expected int >= 1, got null"),
        ("training.real_ratio", "[1", "--training.real_ratio: cannot read '[1'"),
        ("training.real_ratio.x", "1", '--training.real_ratio.x: expected number > 0, <= 1, got {"x": 1}'),
        ("env", "1", "--env: expected a group of settings, got 1"),
        ("model.num_elites", "9", "--model.num_elites: num_elites 9 exceeds ensemble_size 5"),
        ("training.real_ratioo", "1", "unknown key (did you mean training.real_ratio?)"),
        ("trainin.real_ratio", "1", "--trainin.real_ratio: unknown key (did you mean training.real_ratio?)"),
        ("real_ratio", "1", "--real_ratio: unknown key (did you mean training.real_ratio?)"),
        ("gate.mode", "off", "--gate.mode: unknown key (did you mean model.gate.mode?)"),
        ("training.num_envs", "1", "--training.num_envs: unknown key (did you mean env.num_envs?)"),
        ("zzz.qqq", "1", "--zzz.qqq: unknown key"),
        ("..", "1", "--..: unknown key"),
        ("agent.__class__", "1", "--agent.__class__: unknown key"),
    ],
)
def test_wrong_overrides(key: str, value: str, expected: str) -> None:
    found = message([], {key: value})
    assert found.endswith(expected) or found.startswith(expected)


def test_an_error_names_the_source_that_set_the_value(file: Path) -> None:
    file.write_text("training: {batch_size: 0}")
    assert message(["mbpo", "x.yaml"]).startswith("x.yaml: training.batch_size:")
    assert message(["x.yaml", "mbpo"], {"training.batch_size": "-1"}).startswith("--training.batch_size:")
    file.write_text("training: {batch_sice: 1}")
    assert message(["mbpo", "x.yaml"]) == (
        "x.yaml: training.batch_sice: unknown key (did you mean training.batch_size?)"
    )


def test_unknown_presets_and_files(file: Path) -> None:
    presets = ", ".join(preset_names())
    assert message(["mpbo"]) == f"mpbo: no such preset or file (did you mean mbpo?); presets: {presets}"
    assert message(["nope.yaml"]) == "nope.yaml: No such file or directory"
    assert message(["/"]).startswith("/: no such preset or file; presets:")


def test_a_huge_value_is_shortened() -> None:
    assert len(message([], {"seed": "1e999"})) < 130


def test_differences_are_named_key_by_key() -> None:
    old, new = load_config([], {}), load_config([], {"seed": "3", "model.gate.mode": "off"})
    assert differences(old, new) == [("seed", 0, 3), ("model.gate.mode", "auto", "off")]
    assert differences(old, old) == []


def test_the_schema_lists_every_key_with_a_description() -> None:
    rows = config_schema_rows()
    keys = [(row.key, row.when) for row in rows]
    assert len(keys) == len(set(keys)) > 60
    assert all(row.type and row.default and row.description for row in rows)
    by_key = {row.key: row for row in rows}
    assert by_key["training.real_ratio"].type == "number > 0, <= 1"
    assert by_key["model.gate.mode"].type == "auto | off"
    assert by_key["threads"].type == "int >= 1 or null"
    assert by_key["agent.kind"][1:3] == ("ddqn | sac | ppo", "ddqn")
    assert ("agent.gamma", "agent.kind ddqn") in keys
    assert ("agent.gamma", "agent.kind ppo") in keys
    assert ("agent.gamma", "agent.kind sac") in keys
    for row in rows:  # every default is a value that its own key takes
        kind = dict([row.when.split()]) if row.when else {}
        load_config([], {"training.real_ratio": "1", **kind, row.key: row.default})


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"agent.kind": "pp0"}, '--agent.kind: expected ddqn | sac | ppo, got "pp0"'),
        ({"agent.kind": "[1]"}, "--agent.kind: expected ddqn | sac | ppo, got [1]"),
        ({"agent": "3"}, "--agent: expected a group of settings, got 3"),
        ({"agent.gamma": "3"}, "--agent.gamma: expected number > 0, <= 1, got 3"),
        ({**PPO, "agent.gamma": "3"}, "--agent.gamma: expected number > 0, <= 1, got 3"),
        ({**PPO, "agent.epochs": "0"}, "--agent.epochs: expected int >= 1, got 0"),
        ({**PPO, "agent.gama": "1"}, "--agent.gama: unknown key (did you mean agent.gamma?)"),
        (
            {**PPO, "agent.n_step": "3"},
            "--agent.n_step: unknown key with agent.kind ppo "
            "(it belongs to agent.kind ddqn and agent.kind sac)",
        ),
        (
            {"agent.clip_range": "0.2"},
            "--agent.clip_range: unknown key with agent.kind ddqn (it belongs to agent.kind ppo)",
        ),
        (
            {"agent.kind": "ppo", "replay.capacity": "500"},
            "--replay.capacity: replay.capacity must hold 128 steps and 36 frames before them of each of 4 "
            "environments, 656, got 500",
        ),
        (
            {"env.num_envs": "32", "replay.capacity": "1000"},
            "--replay.capacity: replay.capacity must hold 3 steps and 36 frames before them of each of 32 "
            "environments, 1248, got 1000",
        ),
    ],
)
def test_the_kind_of_the_agent_decides_which_keys_it_has(keys: dict[str, str], expected: str) -> None:
    assert message([], keys) == expected


def test_a_preset_for_another_kind_is_named() -> None:
    assert message(["catch"], PPO).startswith("catch: agent.dueling: unknown key with agent.kind ppo")


def test_the_kind_chooses_the_settings() -> None:
    config = load_config([], {**PPO, "agent.gamma": "0.9"})
    assert isinstance(config.agent, PPOConfig)
    assert (config.agent.gamma, config.algorithm) == (0.9, "ppo")
    assert Config.model_validate_json(config.model_dump_json(), strict=True) == config
    assert load_config([], {"agent.gamma": "0.9"}).agent == DDQNConfig(gamma=0.9)
