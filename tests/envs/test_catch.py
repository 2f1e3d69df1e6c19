"""Catch: the board, its rewards, and that it can always be won."""

import numpy as np
import pytest

from mbpo_fast.envs import make_env, make_vec
from mbpo_fast.errors import UsageError

BALL, PADDLE = 255, 160


def cells(frame):
    """A frame [36, 36] as its 12x12 cells, each of one level."""
    cut = frame.reshape(12, 3, 12, 3)
    assert (cut == cut[:, :1, :, :1]).all()
    return cut[:, 0, :, 0]


def ball_of(frame):
    (row,), (column,) = np.nonzero(cells(frame) == BALL)
    return row, column


def test_the_ball_falls_one_row_a_step_for_eleven_steps():
    env = make_env("Catch")
    obs, _ = env.reset(seed=4)
    row, column = ball_of(obs[-1])
    assert row == 0
    np.testing.assert_array_equal(np.nonzero(cells(obs[-1])[11] == PADDLE)[0], [4, 5, 6])
    for step in range(1, 12):
        obs, reward, terminated, _, _ = env.step(1)
        assert ball_of(obs[-1]) == (step, column)
        assert terminated == (step == 11)
        assert reward == (0 if step < 11 else 1 if column in (4, 5, 6) else -1)
        assert ball_of(obs[-2]) == (step - 1, column)


def test_left_and_right_move_the_paddle_up_to_the_walls():
    env = make_env("Catch")
    for action, last_cell in ((0, 1), (2, 10)):
        env.reset()
        paddle = [np.flatnonzero(cells(env.step(action)[0][-1])[11] == PADDLE).mean() for _ in range(10)]
        assert paddle[0] == (4 if action == 0 else 6)
        assert paddle[-1] == last_cell


def test_following_the_ball_always_wins_and_columns_are_uniform():
    vec = make_vec("Catch", 8, seed=2)
    vec.reset()
    columns, scores = [], []
    for _ in range(12 * 60):
        frames = vec.newest_frames()
        ball = np.array([ball_of(frame)[1] for frame in frames])
        row11 = [np.flatnonzero(cells(frame)[11] == PADDLE) for frame in frames]
        middle = np.array([cell.mean() if len(cell) == 3 else np.nan for cell in row11])
        action = np.where(ball < middle, 0, np.where(ball > middle, 2, 1))
        infos = vec.step(action)[4]
        scores += infos["game_score"][infos["game_over"]].tolist()
        if infos["reset"].all():
            columns += [ball_of(frame)[1] for frame in vec.newest_frames()]
    assert scores
    assert set(scores) == {1.0}
    counts = np.bincount(columns, minlength=12)
    assert len(columns) == 8 * 60
    assert counts.min() > 20  # 40 expected, standard deviation 6


def test_other_sizes():
    assert make_env("mbpo_fast/Catch-v0", screen_size=84).reset()[0].shape == (4, 84, 84)
    with pytest.raises(UsageError, match="screen_size of Catch: expected a multiple of 12, got 40"):
        make_env("Catch", screen_size=40)
