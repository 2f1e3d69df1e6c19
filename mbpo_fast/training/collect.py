"""Steps the environments, stores what happens, keeps the scores of whole games."""

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.data import ReplayBuffer
from mbpo_fast.data.state_store import StateStore
from mbpo_fast.envs import GameVectorEnv, HalvedVectorEnv
from mbpo_fast.envs.branches import branch_states
from mbpo_fast.envs.game import State
from mbpo_fast.envs.halves import joined_states

Environments = GameVectorEnv | HalvedVectorEnv


class _Part(NamedTuple):
    """One step of one part of the environments: of all, or of a half. `state`: theirs, where it is kept."""

    action: NDArray[np.int64]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    infos: dict[str, NDArray[Any]]
    state: State | None


class Collector:
    """Feeds a replay buffer from environments with NEXT_STEP autoreset.

    `env_steps` counts agent steps over all environments, without the rows that only carry a reset. With
    `states`, the environments' states are kept there. Halved environments step half by half, in their order;
    a row is stored when the second half has made it.
    """

    def __init__(
        self, env: Environments, replay: ReplayBuffer, *, window: int, states: StateStore | None = None
    ) -> None:
        self.env = env
        self.replay = replay
        self.states = states
        self.env_steps = 0
        self.iterations = 0
        self.games = 0
        self.scores: deque[float] = deque(maxlen=window)
        self.lengths: deque[int] = deque(maxlen=window)
        self._obs: list[NDArray[np.uint8]] = []
        self._actions: dict[int, NDArray[np.int64]] = {}
        self._row: list[_Part] = []

    @property
    def obs(self) -> NDArray[np.uint8]:
        """What the next action answers, u8 [N, S, h, w]."""
        return self._obs[0] if len(self._obs) == 1 else np.concatenate(self._obs)

    def obs_of(self, half: int) -> NDArray[np.uint8]:
        """The rows of `obs` that one half of halved environments has."""
        return self._obs[half]

    def start(self, seed: int) -> None:
        """Reset every environment and store the first frames."""
        obs, _ = self.env.reset(seed=seed)
        self._obs = self._split(obs)
        lanes = len(obs)
        no, yes = np.zeros(lanes, bool), np.ones(lanes, bool)
        state = self.env.get_state() if self._state_due else None
        self._store(np.zeros(lanes, np.int64), np.zeros(lanes, np.float32), no, no, yes, state)

    def step(self, action: NDArray[np.int64]) -> None:
        """One step of every environment."""
        self.begin_step(action)
        self.end_step()

    def begin_step(self, action: NDArray[np.int64], half: int = 0) -> None:
        """Let all environments, or one half, make a step; with workers it runs while the caller goes on."""
        self._actions[half] = action
        self.env.parts[half].step_async(action)

    def end_step(self, half: int = 0) -> None:
        """Wait for the step under way; store it once every environment has made it."""
        part = self.env.parts[half]
        self._obs[half], reward, terminated, truncated, infos = part.step_wait()
        state = part.get_state() if self._state_due else None
        self._row.append(_Part(self._actions[half], reward, terminated, truncated, infos, state))
        if len(self._row) == len(self.env.parts):
            self._end_row()

    def _end_row(self) -> None:
        action, reward, terminated, truncated, infos, states = zip(*self._row, strict=True)
        self._row = []
        info = {name: np.concatenate([x[name] for x in infos]) for name in infos[0]}
        kept = [state for state in states if state is not None]
        self._store(
            np.concatenate(action),
            np.concatenate(reward),
            np.concatenate(terminated),
            np.concatenate(truncated),
            info["reset"],
            joined_states(self.env.parts, kept) if kept else None,
        )
        for lane in info["game_over"].nonzero()[0]:
            self.scores.append(float(info["game_score"][lane]))
            self.lengths.append(int(info["game_length"][lane]))
            self.games += 1
        self.env_steps += int((~info["reset"]).sum())
        self.iterations += 1

    def _store(
        self,
        action: NDArray[np.int64],
        reward: NDArray[np.float32],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        first: NDArray[np.bool_],
        state: State | None,
    ) -> None:
        newest = np.concatenate([obs[:, -1] for obs in self._obs])
        self.replay.add(newest, action, reward.astype(np.float32), terminated, truncated, first)
        if self.states is not None and state is not None:
            self.states.put(self.replay.total - 1, branch_states(state), self.replay.oldest)

    @property
    def _state_due(self) -> bool:
        """Whether the environments' state is kept at the row that is made now."""
        return self.states is not None and self.states.due(self.replay.total)

    def _split(self, obs: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """The rows of each part."""
        ends = np.cumsum([part.num_envs for part in self.env.parts])
        return np.split(obs, ends[:-1])

    def state_dict(self) -> dict[str, Any]:
        """Environments, current observations, counters and recent scores."""
        return {
            "env": self.env.get_state(),
            "obs": self.obs,
            "env_steps": self.env_steps,
            "iterations": self.iterations,
            "games": self.games,
            "scores": list(self.scores),
            "lengths": list(self.lengths),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.env.set_state(state["env"])
        self._obs = self._split(np.array(state["obs"], dtype=np.uint8))
        self.env_steps, self.iterations, self.games = (
            int(state[name]) for name in ("env_steps", "iterations", "games")
        )
        self.scores.extend(float(score) for score in state["scores"])
        self.lengths.extend(int(length) for length in state["lengths"])
