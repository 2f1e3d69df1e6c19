"""Many lanes as two vector environments that step apart: while one steps, its caller acts on the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mbpo_fast.envs.game import State
from mbpo_fast.envs.make import make_vec
from mbpo_fast.envs.vector import GameVectorEnv, check_state
from mbpo_fast.errors import UsageError

Array = npt.NDArray[Any]


def half_shares(num_envs: int, workers: int) -> list[tuple[int, int, int]]:
    """First lane, lanes and workers of each half; the first half has what does not divide."""
    first, first_workers = -(-num_envs // 2), -(-workers // 2)
    return [(0, first, first_workers), (first, num_envs - first, workers - first_workers)]


class HalvedVectorEnv:
    """N lanes in two halves, `parts`, each to be stepped by its own `step_async` and `step_wait`.

    What concerns all lanes is here, and equals what one `GameVectorEnv` of N lanes gives and takes: what a
    lane does depends on its number alone.
    """

    def __init__(self, parts: Sequence[GameVectorEnv]) -> None:
        self.parts = tuple(parts)
        first = parts[0]
        self.num_envs = sum(part.num_envs for part in parts)
        self.stack_shape = first.stack_shape
        self.action_meanings = first.action_meanings
        self.frame_skip = first.frame_skip

    def reset(self, *, seed: int | None = None) -> tuple[Array, dict[str, Array]]:
        """Begin the next episode in every lane, or with a seed new games."""
        obs, infos = zip(*(part.reset(seed=seed) for part in self.parts), strict=True)
        return np.concatenate(obs), {name: np.concatenate([x[name] for x in infos]) for name in infos[0]}

    def get_state(self) -> State:
        """Every lane's state; RuntimeError while a half steps."""
        return joined_states(self.parts, [part.get_state() for part in self.parts])

    def set_state(self, state: State) -> None:
        """Go on exactly where `get_state` was called; ValueError for other lanes' states."""
        check_state(state, self.get_state())
        first = 0
        for part in self.parts:
            lanes = range(first, first + part.num_envs)
            own = {key: value for key, value in state.items() if _lane(key) in lanes}
            part.set_state(_renumbered(own, -first))
            first = lanes.stop

    def close(self) -> None:
        """Stop the workers, if there are any."""
        for part in self.parts:
            part.close()


def make_halves(
    env_id: str, num_envs: int, *, seed: int = 0, workers: int = 0, **settings: Any
) -> HalvedVectorEnv:
    """`make_vec` in two halves, which share the workers. Raises UsageError as it does, and for one game."""
    if num_envs < 2:
        raise UsageError(f"make_halves: expected num_envs >= 2, got {num_envs}")
    return HalvedVectorEnv(
        [
            make_vec(env_id, lanes, seed=seed, workers=share, first_lane=first, **settings)
            for first, lanes, share in half_shares(num_envs, workers)
        ]
    )


def joined_states(parts: Sequence[GameVectorEnv], states: Sequence[State]) -> State:
    """The state of all lanes from that of each part, which may be of different times."""
    joined: State = {}
    first = 0
    for part, state in zip(parts, states, strict=True):
        joined |= _renumbered(state, first)
        first += part.num_envs
    return joined


def _lane(key: str) -> int:
    """Of a name in `GameVectorEnv.get_state`, such as lane3.stack."""
    return int(key.partition(".")[0].removeprefix("lane"))


def _renumbered(state: State, by: int) -> State:
    """The state under other numbers of lanes."""
    return {f"lane{_lane(key) + by}.{key.partition('.')[2]}": value for key, value in state.items()}
