"""Environment states beside a replay buffer: where a stored transition can be played again, exactly."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

State = Mapping[str, npt.NDArray[Any]]


class StateStore:
    """Keeps the environments' state at every k-th slot, for as long as the buffer keeps the slot's frames.

    It serves the oracle, a world model that asks the emulator itself: a few kB a state, so `every` is coarse.
    """

    def __init__(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"[StateStore] expected every >= 1, got {every}")
        self.every = every
        self._states: dict[int, State] = {}

    def __len__(self) -> int:
        return len(self._states)

    def due(self, slot: int) -> bool:
        """Whether the state at this slot is kept, so that a caller need not ask the environments in vain."""
        return slot % self.every == 0

    def put(self, slot: int, state: State, oldest: int) -> None:
        """Keep the state in which the slot's frames are the newest; drop states of slots before `oldest`."""
        if not self.due(slot):
            raise ValueError(f"[StateStore.put] expected a multiple of {self.every}, got slot {slot}")
        self._states[slot] = dict(state)
        for old in [s for s in self._states if s < oldest]:
            del self._states[old]

    def slots(self) -> npt.NDArray[np.int64]:
        """The slots whose state is kept, ascending."""
        return np.array(sorted(self._states), np.int64)

    def get(self, slot: int) -> State:
        """The state at a slot; KeyError where it is not kept."""
        return self._states[slot]

    def state_dict(self) -> dict[str, Any]:
        """Every kept state, each name's arrays (one-dimensional) one after another."""
        slots = self.slots()
        names = sorted(self._states[int(slots[0])]) if len(slots) else []
        columns = {name: [self._states[int(slot)][name] for slot in slots] for name in names}
        return {
            "slots": slots,
            "values": {name: np.concatenate(arrays) for name, arrays in columns.items()},
            "lengths": {name: np.array([len(x) for x in arrays]) for name, arrays in columns.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        parts = {
            name: np.split(np.asarray(values), np.cumsum(np.asarray(state["lengths"][name]))[:-1])
            for name, values in state["values"].items()
        }
        slots = np.asarray(state["slots"]).tolist()
        self._states = {slot: {name: parts[name][i].copy() for name in parts} for i, slot in enumerate(slots)}
