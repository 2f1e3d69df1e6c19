"""episodic_life and fire_reset behave as `AtariWrapper` of stable-baselines3: same RAM after every step."""

import gymnasium
import numpy as np
import pytest

from mbpo_fast.envs import make_env
from mbpo_fast.envs.atari import AtariGame

pytest.importorskip("cv2")
pytest.importorskip("ale_py")
wrappers = pytest.importorskip("stable_baselines3.common.atari_wrappers")
monitor = pytest.importorskip("stable_baselines3.common.monitor")


@pytest.fixture(autouse=True)
def _gray_before_the_max(monkeypatch):
    # SB3 takes the max of two screens in colour, Gymnasium and we in gray: feed SB3 the gray screens.
    monkeypatch.setattr(wrappers.cv2, "cvtColor", lambda frame, code: frame)


def sb3_env(env_id, **kwargs):
    env = monitor.Monitor(gymnasium.make(env_id, disable_env_checker=True, obs_type="grayscale"))
    return wrappers.AtariWrapper(env, noop_max=1, **kwargs)


def noop_wrapper(env):
    while not isinstance(env, wrappers.NoopResetEnv):
        env = env.env
    return env


def assert_same_emulator(ours, theirs, step):
    mine, other = ours._lane.game._ale, theirs.unwrapped.ale
    np.testing.assert_array_equal(mine.getRAM(), other.getRAM(), err_msg=f"RAM after step {step}")
    assert mine.getFrameNumber() == other.getFrameNumber()
    assert mine.lives() == other.lives()


def play_both(ours, theirs, steps):
    """Random play; gives (episodes, whole games) and checks every step and every whole-game score."""
    actions = np.random.default_rng(1).integers(0, len(ours.action_meanings), steps)
    obs, _ = ours.reset()
    their_obs, _ = theirs.reset()
    np.testing.assert_array_equal(obs[-1], their_obs[:, :, 0])
    episodes = games = 0
    for step, action in enumerate(actions):
        obs, reward, terminated, truncated, info = ours.step(action)
        their_obs, their_reward, their_terminated, their_truncated, their_info = theirs.step(action)
        assert (reward, terminated, truncated) == (their_reward, their_terminated, their_truncated)
        assert_same_emulator(ours, theirs, step)
        if info["game_over"] or "episode" in their_info:
            games += 1
            assert info["game_score"] == their_info["episode"]["r"]
        else:
            np.testing.assert_array_equal(obs[-1], their_obs[:, :, 0], err_msg=f"frame of step {step}")
        if terminated or truncated:
            episodes += 1
            obs, _ = ours.reset()
            their_obs, _ = theirs.reset()
            assert_same_emulator(ours, theirs, step)
            np.testing.assert_array_equal(obs[-1], their_obs[:, :, 0])
    return episodes, games


# Short lives and FIRE; three lives and FIRE; a game that stays at 0 lives for a while; one without FIRE.
@pytest.mark.parametrize(
    ("env_id", "episodes", "games"),
    [
        ("BreakoutNoFrameskip-v4", 15, 3),
        ("SpaceInvadersNoFrameskip-v4", 5, 1),
        ("QbertNoFrameskip-v4", 5, 1),
        ("MsPacmanNoFrameskip-v4", 4, 1),
    ],
)
def test_lives_and_fire(env_id, episodes, games):
    theirs = sb3_env(env_id)
    got = play_both(make_env(env_id, noop_max=1), theirs, 900)
    assert got[0] >= episodes
    assert got[1] >= games
    theirs.close()


def test_whole_games_with_fire_and_more_noops(monkeypatch):
    theirs = sb3_env("BreakoutNoFrameskip-v4", terminal_on_life_loss=False, clip_reward=False)
    noop_wrapper(theirs).override_num_noops = 17
    monkeypatch.setattr(AtariGame, "_draw_noops", lambda self: 17)
    ours = make_env("BreakoutNoFrameskip-v4", episodic_life=False, clip_reward=False)
    episodes, games = play_both(ours, theirs, 800)
    assert episodes == games >= 3
    theirs.close()


def test_a_reset_amid_a_life_goes_on_with_the_game():
    theirs = sb3_env("BreakoutNoFrameskip-v4")
    ours = make_env("BreakoutNoFrameskip-v4", noop_max=1)
    for _ in range(5):
        ours.reset()
        theirs.reset()
        assert_same_emulator(ours, theirs, 0)
        for action in (1, 2, 3, 3, 2):
            ours.step(action)
            theirs.step(action)
            assert_same_emulator(ours, theirs, action)
    theirs.close()


class HidesLives:
    """An emulator that can show 0 lives amid a game, as some do for a few frames before it is over."""

    def __init__(self, ale):
        self._ale = ale
        self.hides = False

    def __getattr__(self, name):
        return getattr(self._ale, name)

    def lives(self):
        return 0 if self.hides else self._ale.lives()


def test_zero_lives_are_not_one_more_end():
    theirs = sb3_env("BreakoutNoFrameskip-v4")
    ours = make_env("BreakoutNoFrameskip-v4", noop_max=1)
    ours._lane.game._ale = HidesLives(ours._lane.game._ale)
    theirs.unwrapped.ale = HidesLives(theirs.unwrapped.ale)
    ours.reset()
    theirs.reset()
    for hides in (False, True, True, False):
        ours._lane.game._ale.hides = theirs.unwrapped.ale.hides = hides
        got, want = ours.step(0), theirs.step(0)
        assert (got[2], want[2]) == (False, False)
    theirs.close()
