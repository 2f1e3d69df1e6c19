"""Many lanes as one `gymnasium.vector.VectorEnv`, in this process or in workers; the bytes are the same."""

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from mbpo_fast.envs.game import Frame, State
from mbpo_fast.envs.lane import LaneGroup
from mbpo_fast.envs.pool import WorkerPool
from mbpo_fast.envs.registry import frame_size
from mbpo_fast.envs.settings import EnvSettings
from mbpo_fast.envs.slots import Slots

Array = npt.NDArray[Any]


class GameVectorEnv(VectorEnv[Array, Array, Array]):
    """N lanes in lock-step: observations [N, S, h, w] u8 (float32 with `scale_obs`), S frames, oldest first.

    Everything that `reset`, `step` and `get_state` return is a new array: safe to hold, free to change.

    `step` gives reward f32, terminated, truncated bool, all [N]. NEXT_STEP: the step after an end ignores its
    action and carries only the reset (`infos["reset"]`). SAME_STEP: the reset happens within the ending step,
    and `infos["final_obs"]` [N, S, h, w] holds the true last observation where `infos["_final_obs"]`.

    infos, always present, all [N]: `reset` bool; `raw_reward` f32, before clipping; `lives` i64; `game_over`
    bool, a whole game ended on this row, lost or truncated; `game_score` f32 and `game_length` i64, the raw
    return and the agent steps of that game, 0 elsewhere. `reset` with `game_over`: the buttons that a
    reset presses lost the game.

    `reset(seed=...)` begins new games; without a seed it follows `episodic_life`: the running game goes on.
    The first games are those of the constructor's seed. What lane i draws does not depend on the number of
    lanes.
    """

    def __init__(
        self,
        env_id: str,
        num_envs: int,
        settings: EnvSettings,
        *,
        seed: int,
        workers: int,
        first_lane: int = 0,
        caller_plays: bool = False,
    ) -> None:
        size = frame_size(env_id, settings)
        shape = (settings.stack_size, size, size)
        self._group: LaneGroup | WorkerPool
        workers = min(workers, num_envs)
        if workers == 0 or (caller_plays and workers == 1):
            self._slots = Slots(num_envs, shape)
            self._group = LaneGroup(env_id, settings, range(num_envs), self._slots, seed, first_lane)
        else:
            self._group = WorkerPool(
                env_id, settings, num_envs, shape, workers, seed, first_lane, caller_plays
            )
            self._slots = self._group.slots
        self.settings = settings
        self.num_envs = num_envs
        self.stack_shape = shape
        self.action_meanings = self._group.action_meanings
        self.frame_skip = self._group.frame_skip
        self.metadata = {"autoreset_mode": AutoresetMode[settings.autoreset_mode]}
        self.single_observation_space = observation_space(shape, settings.scale_obs)
        self.single_action_space = Discrete(len(self.action_meanings))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._started = False
        self._stepping = False

    @property
    def parts(self) -> tuple["GameVectorEnv", ...]:
        """What steps apart; see `HalvedVectorEnv`. Here all lanes step together."""
        return (self,)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode in every lane; see the class for what a seed does. `options` are ignored."""
        self._check_idle("reset")
        super().reset(seed=seed, options=options)
        self._group.reset(None if seed is None else check_seed(seed))
        self._started = True
        return self._observations(self._slots.stacks), self._infos()

    def step(self, actions: npt.ArrayLike) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Play one agent step in every lane; actions integer [N], ValueError if they are not."""
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: npt.ArrayLike, rests: npt.NDArray[np.bool_] | None = None) -> None:
        """Begin a step; workers play while the caller does something else, until `step_wait`.

        Two environments of half the lanes each overlap, see `make_halves`: one half steps while the other is
        acted on. Without workers the step is played in `step_wait`. A lane that `rests`
        (bool [N]; None: no lane) stands still in this step, and its row stays as it was.
        """
        self._check_idle("step_async")
        if not self._started:
            raise RuntimeError("[step] expected reset() or set_state() first, got a fresh environment")
        self._slots.action[:] = self._checked(np.asarray(actions))
        self._slots.rests[:] = False if rests is None else rests
        self._group.begin_step()
        self._stepping = True

    def step_wait(self) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """What `step` returns, of the step that `step_async` began."""
        if not self._stepping:
            raise RuntimeError("[step_wait] expected a step begun by step_async(), got none")
        self._stepping = False
        self._group.end_step()
        slots = self._slots
        terminated, truncated = slots.terminated.copy(), slots.truncated.copy()
        return self._observations(slots.stacks), slots.reward.copy(), terminated, truncated, self._infos()

    def newest_frames(self, out: Frame | None = None) -> Frame:
        """The newest frame of every lane, u8 [N, h, w], contiguous; into `out` if given."""
        newest = self._slots.stacks[:, -1]
        if out is None:
            return newest.copy()
        if out.shape != newest.shape or out.dtype != np.uint8:
            raise ValueError(f"[newest_frames] expected out u8 {newest.shape}, got {out.dtype} {out.shape}")
        np.copyto(out, newest)
        return out

    def get_state(self) -> State:
        """Everything that the future depends on, as named arrays: games, stacks, counters of random draws."""
        self._check_idle("get_state")
        return self._group.get_state()

    def set_state(self, state: State) -> None:
        """Go on exactly where `get_state` was called, with any number of workers, in any process.

        Raises ValueError where the state is not one of these lanes, games and settings.
        """
        self._check_idle("set_state")
        check_state(state, self._group.get_state())
        self._group.set_state(state)
        self._started = True

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers; none where the games run in this process."""
        return self._group.pids if isinstance(self._group, WorkerPool) else []

    def close_extras(self, **_: Any) -> None:
        """Stop the workers, if there are any."""
        self._group.close()

    def _check_idle(self, verb: str) -> None:
        if self._stepping:
            raise RuntimeError(f"[{verb}] expected step_wait() first, got a step under way")

    def _checked(self, actions: Array) -> Array:
        if actions.shape != (self.num_envs,):
            raise ValueError(f"[step] expected actions of shape ({self.num_envs},), got {actions.shape}")
        if actions.dtype.kind not in "iu":
            raise ValueError(f"[step] expected actions of an integer type, got {actions.dtype}")
        last = len(self.action_meanings) - 1
        values = actions.tolist()
        if min(values) < 0 or max(values) > last:
            raise ValueError(f"[step] expected actions in 0..{last}, got {values}")
        return actions

    def _observations(self, stacks: Frame) -> Array:
        return observe(stacks, self.settings.scale_obs)

    def _infos(self) -> dict[str, Any]:
        slots = self._slots
        infos: dict[str, Any] = slots.infos()
        if self.settings.autoreset_mode == "SAME_STEP":
            ended = slots.terminated | slots.truncated
            final_stacks = np.zeros(slots.final_stacks.shape, np.uint8)
            final_stacks[ended] = slots.final_stacks[ended]
            infos["final_obs"] = observe(final_stacks, True) if self.settings.scale_obs else final_stacks
            infos["_final_obs"] = ended
        return infos


def observation_space(stack_shape: tuple[int, int, int], scale_obs: bool) -> Box:
    """The space of one lane's observations."""
    return Box(0, 1, stack_shape, np.float32) if scale_obs else Box(0, 255, stack_shape, np.uint8)


def observe(stacks: Frame, scale_obs: bool) -> Array:
    """A new array of what the agent sees."""
    return stacks / np.float32(255) if scale_obs else stacks.copy()


def check_seed(seed: int) -> int:
    """The seed, if the counter-based generator takes it; else a ValueError."""
    if not 0 <= seed < 2**63:
        raise ValueError(f"[seed] expected 0 <= seed < 2**63, got {seed}")
    return seed


def check_state(state: State, expected: State) -> None:
    """Raises ValueError where the state is not one of the lanes whose present state is `expected`."""
    if state.keys() != expected.keys():
        odd = sorted(state.keys() ^ expected.keys())
        raise ValueError(f"[set_state] expected the arrays of these lanes, got other names: {odd[:4]}")
    for name, want in expected.items():
        got = state[name]
        # One-dimensional arrays may vary in length: the actions of a game, an emulator's own state.
        if got.dtype != want.dtype or got.ndim != want.ndim or (want.ndim > 1 and got.shape != want.shape):
            raise ValueError(
                f"[set_state] expected {name} as {want.dtype} {want.shape}, got {got.dtype} {got.shape}"
            )
