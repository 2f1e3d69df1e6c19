"""One lane as a `gymnasium.Env`."""

from typing import Any, SupportsInt

import numpy as np
import numpy.typing as npt
from gymnasium import Env
from gymnasium.spaces import Discrete

from mbpo_fast.envs.game import Frame, State
from mbpo_fast.envs.lane import Lane
from mbpo_fast.envs.registry import build_game, frame_size
from mbpo_fast.envs.settings import EnvSettings
from mbpo_fast.envs.slots import Slots
from mbpo_fast.envs.vector import check_seed, observation_space, observe

Array = npt.NDArray[Any]


class GameEnv(Env[Array, Any]):
    """Lane 0 of a vector environment, alone: observations [S, h, w], a new array each time.

    infos hold the vector environment's columns as plain numbers. `reset(seed=...)` begins a new game; without
    a seed it follows `episodic_life`, as stable-baselines3 does: the running game goes on after a no-op.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012

    def __init__(self, env_id: str, settings: EnvSettings, *, seed: int, render_mode: str | None) -> None:
        size = frame_size(env_id, settings)
        shape = (settings.stack_size, size, size)
        # The caller resets, and must see the end first: the lane may not do it within the step.
        self.settings = settings.model_copy(update={"autoreset_mode": "NEXT_STEP"})
        self._slots = Slots(1, shape)
        self._lane = Lane(build_game(env_id, settings, 0, seed), self.settings, self._slots, 0)
        self.render_mode = render_mode
        self.action_meanings = self._lane.game.action_meanings
        self.frame_skip = self._lane.game.frame_skip
        self.sticky_probability = self._lane.game.sticky_probability
        self.observation_space = observation_space(shape, settings.scale_obs)
        self.action_space = Discrete(len(self.action_meanings))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode; see the class for what a seed does. `options` are ignored."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self._lane.seed(check_seed(seed))
        self._lane.reset()
        return self._observation(), self._info()

    def step(self, action: SupportsInt) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Play one agent step; ValueError for a bad action, RuntimeError outside an episode."""
        if self._lane.ended:
            raise RuntimeError("[step] expected reset() first, got a step outside an episode")
        self._lane.step(self._checked(action))
        slots = self._slots
        ends = bool(slots.terminated[0]), bool(slots.truncated[0])
        return self._observation(), float(slots.reward[0]), *ends, self._info()

    def render(self) -> Frame:
        """The screen in colour, u8 [H, W, 3]."""
        if self.render_mode is None:
            raise ValueError("[render] expected render_mode='rgb_array' at make_env, got None")
        return self._lane.game.render()

    def get_state(self) -> State:
        """Everything that the future depends on, as named arrays."""
        return self._lane.get_state()

    def set_state(self, state: State) -> None:
        """Go on exactly where `get_state` was called."""
        self._lane.set_state(state)

    def _checked(self, action: SupportsInt) -> int:
        value = np.asarray(action)
        if value.shape != () or not np.issubdtype(value.dtype, np.integer):
            raise ValueError(f"[step] expected one integer action, got {action!r}")
        if not 0 <= value < len(self.action_meanings):
            raise ValueError(f"[step] expected an action in 0..{len(self.action_meanings) - 1}, got {value}")
        return int(value)

    def _observation(self) -> Array:
        return observe(self._slots.stacks[0], self.settings.scale_obs)

    def _info(self) -> dict[str, Any]:
        return {name: column[0].item() for name, column in self._slots.infos().items()}
