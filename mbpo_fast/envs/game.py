"""What a game promises to the lane that plays it: one first frame, one frame a step, an exact state."""

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
State = dict[str, npt.NDArray[Any]]


class Outcome(NamedTuple):
    """One agent step beneath reward clipping: the raw reward, and which ends it brought."""

    reward: float
    terminated: bool
    truncated: bool
    game_over: bool


class Restart(NamedTuple):
    """What a reset did: `new_game` is False where it went on with the same game.

    `lost_score` is the raw score of a game that ended while the reset pressed its buttons, else None.
    """

    new_game: bool
    lost_score: float | None


class Game(Protocol):
    """A game on one lane. Frames are written into `frame`, u8 [1, h, w], which the caller owns."""

    frame_skip: int
    sticky_probability: float
    action_meanings: tuple[str, ...]
    lives: int
    score: float

    def seed(self, seed: int) -> None:
        """Forget the running game and draw everything that follows from `seed`."""

    def reset(self, frame: Frame) -> Restart:
        """Begin the next episode: a new game, or the next life of the running one."""

    def step(self, action: int, frame: Frame) -> Outcome:
        """Play one agent step."""

    def end_game(self) -> None:
        """Give the running game up: the next reset begins a new one."""

    def render(self) -> Frame:
        """The screen in colour, u8 [H, W, 3], a new array."""

    def get_state(self) -> State:
        """Everything that the future depends on, as arrays."""

    def set_state(self, state: State) -> None:
        """Go on exactly where `get_state` was called."""

    def jump(self, state: State) -> None:
        """Go on from a state without the game's past, at once and, for a few games, not quite exactly.

        Steps may follow, and other jumps; no reset, and no state that `set_state` takes. A step that loses
        the game may leave `frame` as it is.
        """
