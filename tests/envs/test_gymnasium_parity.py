"""With episodic_life, fire_reset, clip_reward off and noop_max 0 the bytes equal Gymnasium's wrappers."""

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from mbpo_fast.envs import atari, make_env

pytest.importorskip("cv2")
ale_py = pytest.importorskip("ale_py")

PLAIN = {"episodic_life": False, "fire_reset": False, "clip_reward": False, "noop_max": 0}


def gymnasium_env(env_id, padding_type, frame_skip=4, scale_obs=False, **kwargs):
    env = gymnasium.make(env_id, disable_env_checker=True, frameskip=1, **kwargs)
    env = AtariPreprocessing(env, noop_max=0, frame_skip=frame_skip, scale_obs=scale_obs)
    return FrameStackObservation(env, 4, padding_type=padding_type)


def assert_equal_play(ours, theirs, steps, num_actions):
    """Play both with the same random actions; give the number of finished games."""
    actions = np.random.default_rng(0).integers(0, num_actions, steps)
    np.testing.assert_array_equal(ours.reset()[0], theirs.reset()[0])
    games = 0
    for step, action in enumerate(actions):
        got, want = ours.step(action), theirs.step(action)
        np.testing.assert_array_equal(got[0], want[0], err_msg=f"observation of step {step}")
        assert got[0].dtype == want[0].dtype
        assert got[1:4] == want[1:4], f"step {step}"
        assert got[4]["lives"] == want[4]["lives"]
        if got[2] or got[3]:
            games += 1
            np.testing.assert_array_equal(ours.reset()[0], theirs.reset()[0])
    return games


@pytest.mark.parametrize("padding_type", ["reset", "zero"])
@pytest.mark.parametrize(
    ("env_id", "games"), [("SpaceInvadersNoFrameskip-v4", 2), ("BreakoutNoFrameskip-v4", 1)]
)
def test_2000_steps_equal(env_id, games, padding_type):
    if env_id.startswith("Breakout"):
        # Breakout waits for FIRE: without it no life is ever lost.
        assert make_env(env_id).action_meanings[1] == "FIRE"
    ours = make_env(env_id, padding_type=padding_type, **PLAIN)
    theirs = gymnasium_env(env_id, padding_type)
    assert assert_equal_play(ours, theirs, 2000, len(ours.action_meanings)) >= games
    theirs.close()


# Carnival, Pooyan, JourneyEscape and AirRaid have screens of other heights.
GAMES = ["Carnival", "Pooyan", "JourneyEscape", "AirRaid", "Pong", "Seaquest", "Qbert", "MsPacman", "Freeway"]
GAMES += ["Boxing", "BeamRider", "Tennis"]


@pytest.mark.slow
@pytest.mark.parametrize("game", GAMES)
def test_2000_steps_of_other_games_equal(game):
    env_id = f"{game}NoFrameskip-v4"
    ours = make_env(env_id, **PLAIN)
    theirs = gymnasium_env(env_id, "reset")
    games = assert_equal_play(ours, theirs, 2000, len(ours.action_meanings))
    # The games that random play loses well within 2,000 steps.
    assert games >= 1 or game in (
        "Pong",
        "Tennis",
        "Freeway",
        "Boxing",
        "Carnival",
        "Pooyan",
        "JourneyEscape",
    )
    theirs.close()


@pytest.mark.slow
@pytest.mark.parametrize("game", ["SpaceInvaders", "Pooyan", "Qbert"])
def test_v5_is_equal_through_whole_games(game):
    ours = make_env(f"ALE/{game}-v5", **PLAIN)
    theirs = gymnasium_env(f"ALE/{game}-v5", "reset")
    theirs.unwrapped.ale.setInt("random_seed", ours._lane.game._ale.getInt("random_seed"))
    theirs.unwrapped.load_game()
    assert_equal_play(ours, theirs, 2000, len(ours.action_meanings))
    theirs.close()


@pytest.mark.parametrize("frame_skip", [1, 2, 3])
def test_other_skips_and_scaled_observations_equal(frame_skip):
    env_id = "SpaceInvadersNoFrameskip-v4"
    ours = make_env(env_id, frame_skip=frame_skip, scale_obs=True, **PLAIN)
    theirs = gymnasium_env(env_id, "reset", frame_skip, scale_obs=True)
    assert_equal_play(ours, theirs, 200, 6)
    theirs.close()


# The four frames of a skip: the screens that a cut game shows differ among them.
@pytest.mark.parametrize("frames", [201, 202, 203, 204])
def test_the_frame_limit_truncates_at_the_same_frame(monkeypatch, frames):
    env_id = "SpaceInvadersNoFrameskip-v4"
    monkeypatch.setattr(atari, "MAX_GAME_FRAMES", frames)
    ours = make_env(env_id, **PLAIN)
    theirs = gymnasium_env(env_id, "reset", max_num_frames_per_episode=frames)
    assert assert_equal_play(ours, theirs, 160, 6) == 3
    theirs.close()


def test_v5_is_sticky_and_equal_for_an_equal_emulator_seed():
    ours = make_env("ALE/SpaceInvaders-v5", **PLAIN)
    theirs = gymnasium_env("ALE/SpaceInvaders-v5", "reset")
    emulator = theirs.unwrapped.ale
    assert ours.sticky_probability == emulator.getFloat("repeat_action_probability") == 0.25
    emulator.setInt("random_seed", ours._lane.game._ale.getInt("random_seed"))
    theirs.unwrapped.load_game()
    assert_equal_play(ours, theirs, 250, 6)
    theirs.close()
