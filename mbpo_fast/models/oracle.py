"""The oracle: the game itself behind the world model's contract.

With it the loop has a model without error, as far as the emulator's own copies are exact: what is then still
missing, or gained, is due to the method and not to the model.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from mbpo_fast.settings import Settings

Ids = NDArray[np.int64]
State = Mapping[str, NDArray[Any]]
CHECKED = 64
"""Stored steps that a round plays again, to see whether the oracle is exact."""


class OracleConfig(Settings):
    """Settings of the oracle (`model.kind: oracle`)."""

    every: int = Field(
        8, ge=1, description="states of all environments (8 kB each in Atari) are kept at every so many steps"
    )
    starts: int = Field(
        512, ge=1, description="branches of a rollout at most: each of their steps is played in the emulator"
    )


class Emulator(Protocol):
    """What `mbpo_fast.envs.branches.BranchGame` does."""

    def start(self, states: State, lane: int) -> Any:
        """The moment of one lane out of all lanes' states."""

    def step(self, moment: Any, action: int, newest: NDArray[np.uint8]) -> tuple[Any, float, bool]:
        """Frame, reward and terminated of one agent step from a moment."""

    def moment(self) -> Any:
        """Where the last step led."""


class States(Protocol):
    """The part of `mbpo_fast.data.state_store.StateStore` that the oracle reads and saves."""

    def slots(self) -> Ids:
        """The slots whose states are kept."""

    def get(self, slot: int) -> State:
        """All lanes' states at a slot."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that is kept."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""


class Replay(Protocol):
    """The part of `mbpo_fast.data.ReplayBuffer` that the oracle checks itself against."""

    def valid_ids(self, n_step: int = 1, *, context: int = 4) -> Ids:
        """Ids of all transitions."""

    def gather(self, ids: Ids, n_step: int = 1, *, context: int = 4) -> Any:
        """The rows of these ids."""


class Oracle:
    """Branches of B rows from stored states, one step of all rows at a time; see `StepModel`.

    Attributes:
        states: the environments' states beside the replay buffer.
        elites: one "member", so that a rollout has somebody to draw.
        device: where its frames and actions are.

    """

    def __init__(self, emulator: Emulator, states: States, *, num_envs: int) -> None:
        self.states = states
        self.elites = [0]
        self.device = torch.device("cpu")
        self._emulator = emulator
        self._num_envs = num_envs
        self._moments: list[Any] = []
        self._steps_left = 0

    def with_state(self, ids: Ids) -> Ids:
        """Those of the transitions' ids whose state is kept."""
        return ids[np.isin(ids // self._num_envs, self.states.slots())]

    def begin(self, ids: Ids, horizon: int) -> None:
        """Begin a branch of at most `horizon` steps at each id i64 [B]; KeyError where no state is kept."""
        self._moments = [
            self._emulator.start(self.states.get(slot), lane)
            for slot, lane in zip(*(x.tolist() for x in divmod(ids, self._num_envs)), strict=True)
        ]
        self._steps_left = horizon

    def step(self, context: Tensor, action: Tensor, member: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step of every branch that has not ended, in their order: the results of `WorldModel.step`.

        context u8 [B, C, h, w], action i64 [B]; there is one member. ValueError for other numbers of rows.
        """
        if not len(context) == len(action) == len(member) == len(self._moments):
            raise ValueError(f"[Oracle.step] expected {len(self._moments)} rows, got {len(context)}")
        self._steps_left -= 1
        frames = torch.empty_like(context[:, -1])
        reward, terminated = torch.empty(len(context)), torch.empty(len(context), dtype=torch.bool)
        going_on = []
        for i, moment in enumerate(self._moments):
            frame, reward[i], terminated[i] = self._emulator.step(
                moment, int(action[i]), context[i, -1].cpu().numpy()
            )
            frames[i] = torch.from_numpy(frame)
            if self._steps_left > 0 and not terminated[i]:
                going_on.append(self._emulator.moment())
        self._moments = going_on
        return frames, reward, terminated

    def exactness(self, replay: Replay) -> float:
        """Share of some stored steps that come out the same, byte for byte, when they are played again."""
        ids = self.with_state(replay.valid_ids(1))
        if not len(ids):
            return float("nan")
        ids = ids[np.linspace(0, len(ids) - 1, min(CHECKED, len(ids))).astype(np.int64)]
        rows = replay.gather(ids)
        self.begin(ids, 1)
        frame, reward, terminated = self.step(
            *map(torch.from_numpy, (rows.obs, rows.action, np.zeros(len(ids))))
        )
        same = (frame.numpy() == rows.next_obs[:, -1]).all(axis=(1, 2))
        same &= (reward.numpy() == rows.reward) & (terminated.numpy() == rows.terminated)
        return float(same.mean())

    def state_dict(self) -> dict[str, Any]:
        """The kept states; a branch never outlives its rollout."""
        return self.states.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.states.load_state_dict(state)


class OracleRounds:
    """Stands where `ModelTrainer` does: nothing is fitted, rounds are counted, the oracle is checked."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.rounds = 0

    def fit(self, replay: Replay, _on_check: object = None) -> dict[str, float]:
        """One round, without checks; `oracle_exact`: the share of stored steps that the oracle reproduces."""
        self.rounds += 1
        return {"oracle_exact": self.oracle.exactness(replay)}

    def state_dict(self) -> dict[str, Any]:
        """The counter."""
        return {"rounds": self.rounds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.rounds = int(state["rounds"])
