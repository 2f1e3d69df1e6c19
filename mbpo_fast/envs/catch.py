"""Catch: a ball falls, a paddle catches it. Small enough that an agent learns it in seconds.

The board is 12x12 cells. The ball starts in a random column of the first row and falls one row a step; the
paddle, three cells wide, starts in the middle of the last row. On the eleventh step the episode ends with
reward 1 if the ball meets the paddle, else -1.
"""

import numpy as np

from mbpo_fast.envs.game import Frame, Outcome, Restart, State
from mbpo_fast.ops import Stream, random_integers

CELLS = 12
PADDLE = 3
DEFAULT_SIZE = 36
BALL_GRAY = 255
PADDLE_GRAY = 160
_MIDDLE = (CELLS - PADDLE) // 2


class CatchGame:
    """One board; frames are [size, size] u8, size a multiple of 12; actions LEFT, STAY, RIGHT."""

    def __init__(self, size: int, lane: int, seed: int) -> None:
        self.frame_skip = 1
        self.sticky_probability = 0.0
        self.action_meanings: tuple[str, ...] = ("LEFT", "STAY", "RIGHT")
        self.lives = 0
        self._size = size
        self._cell = size // CELLS
        self._lane = lane
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Columns follow from `seed` and the lane."""
        self._seed = seed
        self._games = 0
        self.score = 0.0
        self._row, self._column, self._paddle = 0, 0, _MIDDLE

    def reset(self, frame: Frame) -> Restart:
        """A new ball in the first row."""
        columns = random_integers(self._seed, Stream.CATCH, self._games, self._lane + 1, CELLS)
        self._games += 1
        self.score = 0.0
        self._row, self._column, self._paddle = 0, int(columns[self._lane]), _MIDDLE
        self._draw(frame[0])
        return Restart(new_game=True, lost_score=None)

    def step(self, action: int, frame: Frame) -> Outcome:
        """Move the paddle, then let the ball fall."""
        self._paddle = min(max(self._paddle + action - 1, 0), CELLS - PADDLE)
        self._row += 1
        self._draw(frame[0])
        ended = self._row == CELLS - 1
        reward = 0.0
        if ended:
            reward = 1.0 if self._paddle <= self._column < self._paddle + PADDLE else -1.0
        self.score += reward
        return Outcome(reward, ended, False, ended)

    def end_game(self) -> None:
        """Nothing to do: every reset begins a new game."""

    def render(self) -> Frame:
        """The board, u8 [size, size, 3]."""
        frame = np.empty((self._size, self._size), np.uint8)
        self._draw(frame)
        return np.repeat(frame[:, :, None], 3, axis=2)

    def get_state(self) -> State:
        """Seed, number of games, and the board."""
        counters = [self._seed, self._games, self._row, self._column, self._paddle]
        return {"counters": np.array(counters, np.int64), "score": np.array([self.score])}

    def set_state(self, state: State) -> None:
        """Go on exactly where `get_state` was called."""
        self._seed, self._games, self._row, self._column, self._paddle = state["counters"].tolist()
        self.score = float(state["score"][0])

    def jump(self, state: State) -> None:
        """As exact as `set_state`."""
        self.set_state(state)

    def _draw(self, frame: Frame) -> None:
        cell = self._cell
        frame[:] = 0
        frame[-cell:, self._paddle * cell : (self._paddle + PADDLE) * cell] = PADDLE_GRAY
        top, left = self._row * cell, self._column * cell
        frame[top : top + cell, left : left + cell] = BALL_GRAY
