"""Going on from any moment of a game, as often as one likes: what the oracle plays its branches on."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mbpo_fast.envs.game import Frame, State
from mbpo_fast.envs.registry import build_game, frame_size
from mbpo_fast.envs.settings import EnvSettings

_GAMES_PAST = ("before_game", "played")
# A branch ends where the game says so, never by the clock; no game lasts so many steps.
_NO_LIMIT = 2**31 - 1


def branch_states(state: State) -> State:
    """The part of `GameVectorEnv.get_state` that a branch needs, packed: some 8 kB for an Atari lane."""
    return {
        name: _packed(array)
        for name, array in state.items()
        if ".game." in name and name.rpartition(".")[2] not in _GAMES_PAST
    }


class BranchGame:
    """One game that jumps between moments of other games with the same id and settings; see `Game.jump`."""

    def __init__(self, env_id: str, settings: EnvSettings) -> None:
        unlimited = settings.model_copy(update={"max_episode_steps": _NO_LIMIT})
        self._game = build_game(env_id, unlimited, lane=0, seed=0)
        self._clip_reward = settings.clip_reward
        size = frame_size(env_id, settings)
        self._frame = np.empty((1, size, size), np.uint8)

    def start(self, states: Mapping[str, npt.NDArray[Any]], lane: int) -> State:
        """The moment of one lane out of `branch_states`."""
        prefix = f"lane{lane}.game."
        return {
            name.removeprefix(prefix): _unpacked(array)
            for name, array in states.items()
            if name.startswith(prefix)
        }

    def step(self, moment: State, action: int, newest: Frame) -> tuple[Frame, float, bool]:
        """Play one agent step from a moment whose newest frame is u8 [h, w]: frame, reward, terminated."""
        self._game.jump(moment)
        self._frame[0] = newest
        raw, terminated, _, _ = self._game.step(action, self._frame)
        reward = float(np.sign(raw)) if self._clip_reward else raw
        return self._frame[0].copy(), reward, terminated

    def moment(self) -> State:
        """Where the last step led."""
        return {name: array for name, array in self._game.get_state().items() if name not in _GAMES_PAST}


def _packed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype != np.uint8:
        return array
    return np.frombuffer(zlib.compress(array.tobytes(), 1), np.uint8)


def _unpacked(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.frombuffer(zlib.decompress(array.tobytes()), np.uint8) if array.dtype == np.uint8 else array
