"""Steps the environments, stores what happens, keeps the scores of whole games."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.data import ReplayBuffer
from mbpo_fast.data.state_store import StateStore
from mbpo_fast.envs import GameVectorEnv
from mbpo_fast.envs.branches import branch_states


class Collector:
    """Feeds a replay buffer from a vector environment with NEXT_STEP autoreset.

    `obs` u8 [N, S, h, w] is what the next action answers; `env_steps` counts agent steps over all
    environments, without the rows that only carry a reset. With `states`, the environments' states are kept
    there.
    """

    def __init__(
        self, env: GameVectorEnv, replay: ReplayBuffer, *, window: int, states: StateStore | None = None
    ) -> None:
        self.env = env
        self.replay = replay
        self.states = states
        self.env_steps = 0
        self.iterations = 0
        self.games = 0
        self.scores: deque[float] = deque(maxlen=window)
        self.lengths: deque[int] = deque(maxlen=window)
        self.obs: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._action: NDArray[np.int64] = np.empty(0, np.int64)

    def start(self, seed: int) -> None:
        """Reset every environment and store the first frames."""
        self.obs, _ = self.env.reset(seed=seed)
        lanes = len(self.obs)
        no, yes = np.zeros(lanes, bool), np.ones(lanes, bool)
        self._store(np.zeros(lanes, np.int64), np.zeros(lanes, np.float32), no, no, yes)

    def step(self, action: NDArray[np.int64]) -> int:
        """One step of every environment; returns how many of them were agent steps."""
        self.begin_step(action)
        return self.end_step()

    def begin_step(self, action: NDArray[np.int64]) -> None:
        """Let every environment make a step; with workers it runs while the caller does something else."""
        self._action = action
        self.env.step_async(action)

    def end_step(self) -> int:
        """Wait for the step under way and store it; returns how many environments made an agent step."""
        self.obs, reward, terminated, truncated, infos = self.env.step_wait()
        self._store(self._action, reward, terminated, truncated, infos["reset"])
        for lane in infos["game_over"].nonzero()[0]:
            self.scores.append(float(infos["game_score"][lane]))
            self.lengths.append(int(infos["game_length"][lane]))
            self.games += 1
        counted = int((~infos["reset"]).sum())
        self.env_steps += counted
        self.iterations += 1
        return counted

    def _store(
        self,
        action: NDArray[np.int64],
        reward: NDArray[np.float32],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        first: NDArray[np.bool_],
    ) -> None:
        newest = self.env.newest_frames()
        self.replay.add(newest, action, reward.astype(np.float32), terminated, truncated, first)
        slot = self.replay.total - 1
        if self.states is not None and self.states.due(slot):
            self.states.put(slot, branch_states(self.env.get_state()), self.replay.oldest)

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
        self.obs = np.array(state["obs"], dtype=np.uint8)
        self.env_steps, self.iterations, self.games = (
            int(state[name]) for name in ("env_steps", "iterations", "games")
        )
        self.scores.extend(float(score) for score in state["scores"])
        self.lengths.extend(int(length) for length in state["lengths"])
