"""Which ids and settings are taken, and what the others are told."""

import sys

import pytest

from mbpo_fast.envs import EnvSettings, atari, make_env, make_vec
from mbpo_fast.envs.registry import parse_env_id, sticky_probability
from mbpo_fast.errors import MissingExtraError, UsageError


@pytest.mark.parametrize(
    ("env_id", "rom", "sticky"),
    [
        ("SpaceInvadersNoFrameskip-v4", "space_invaders", 0.0),
        ("SpaceInvadersNoFrameskip-v0", "space_invaders", 0.25),
        ("ALE/SpaceInvaders-v5", "space_invaders", 0.25),
        ("ALE/TicTacToe3D-v5", "tic_tac_toe_3d", 0.25),
        ("Catch", None, 0.0),
        ("mbpo_fast/Catch-v0", None, 0.0),
    ],
)
def test_ids(env_id, rom, sticky):
    assert parse_env_id(env_id) == (rom, sticky)
    assert sticky_probability(env_id, EnvSettings(repeat_action_probability=0.5)) == 0.5


@pytest.mark.parametrize(
    ("env_id", "suggestion"),
    [
        ("SpaceInvadersNoFrameskip-v3", "SpaceInvadersNoFrameskip-v4"),
        ("SpaceInvaderNoFrameskip-v4", "SpaceInvadersNoFrameskip-v4"),
        ("SpaceInvaders", "SpaceInvadersNoFrameskip-v4"),
        ("space_invaders", "SpaceInvadersNoFrameskip-v4"),
        ("ale_py:SpaceInvadersNoFrameskip-v4", "SpaceInvadersNoFrameskip-v4"),
        ("SpaceInvadersDeterministic-v4", "SpaceInvadersNoFrameskip-v4"),
        ("Breakout-ram-v4", "BreakoutNoFrameskip-v4"),
        ("ALE/Brakeout-v5", "ALE/Breakout-v5"),
        ("ALE/Breakout-v4", "ALE/Breakout-v5"),
        ("ALE/BreakoutNoFrameskip-v5", "ALE/Breakout-v5"),
        ("Breakout-v5", "BreakoutNoFrameskip-v4"),
        ("Cach", "Catch"),
    ],
)
def test_an_unknown_id_gets_a_suggestion(env_id, suggestion):
    with pytest.raises(UsageError) as error:
        make_vec(env_id, 1)
    assert str(error.value) == f"unknown environment '{env_id}': did you mean '{suggestion}'?"


@pytest.mark.parametrize("env_id", ["", "CartPole-v1", "Xyzzy", "ALE/Combat-v5"])
def test_an_id_like_no_other_is_told_the_forms(env_id):
    with pytest.raises(UsageError, match="unknown environment"):
        make_env(env_id)


@pytest.mark.parametrize("version", ["v0", "v4"])
def test_ids_with_random_frame_skip_are_refused(version):
    with pytest.raises(UsageError) as error:
        make_env(f"Breakout-{version}")
    assert f"use 'BreakoutNoFrameskip-{version}' or 'ALE/Breakout-v5'" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frame_skp": 2}, "unknown environment setting 'frame_skp': did you mean 'frame_skip'?"),
        ({"qqqqqqq": 2}, "unknown environment setting 'qqqqqqq'"),
        (
            {"frame_skip": 0},
            "environment setting frame_skip: Input should be greater than or equal to 1, got 0",
        ),
        ({"repeat_action_probability": 1.5}, "setting repeat_action_probability: .* got 1.5"),
        ({"padding_type": "edge"}, "setting padding_type: Input should be 'reset' or 'zero', got 'edge'"),
        ({"autoreset_mode": "DISABLED"}, "setting autoreset_mode: .* got 'DISABLED'"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        make_vec("Catch", 1, **settings)


def test_bad_arguments_are_refused():
    with pytest.raises(UsageError, match="num_envs >= 1, workers >= 0 and first_lane >= 0, got 0, 0 and 0"):
        make_vec("Catch", 0)
    with pytest.raises(UsageError, match="num_envs >= 1, workers >= 0 and first_lane >= 0, got 1, -1 and 0"):
        make_vec("Catch", 1, workers=-1)
    with pytest.raises(UsageError, match="render_mode: expected None or 'rgb_array', got 'human'"):
        make_env("Catch", render_mode="human")
    with pytest.raises(ValueError, match=r"\[seed\] expected 0 <= seed < 2\*\*63, got -1"):
        make_env("Catch", seed=-1)


def test_without_ale_py_the_message_names_the_extra(monkeypatch):
    atari._ale_py.cache_clear()
    atari.game_names.cache_clear()
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(MissingExtraError, match=r'ale-py is not installed: pip install "mbpo_fast\[atari\]"'):
        make_env("SpaceInvadersNoFrameskip-v4")
    make_env("Catch").reset()
