"""A lane plays one game into its row of the slots: stack, autoreset, clipping, scores of whole games."""

from collections.abc import Sequence

import numpy as np

from mbpo_fast.envs.game import Game, State
from mbpo_fast.envs.registry import build_game
from mbpo_fast.envs.settings import EnvSettings
from mbpo_fast.envs.slots import Slots


class Lane:
    """One game and its row; `ended` says that the next step can only carry a reset."""

    def __init__(self, game: Game, settings: EnvSettings, slots: Slots, row: int) -> None:
        self.game = game
        self.ended = True
        self._length = 0
        self._settings = settings
        self._slots = slots
        self._row = row
        self._stack = slots.stacks[row]
        self._newest = self._stack[-1:]
        pixels, frame = self._stack.reshape(-1), self._newest.size
        # Flat, a shift by one frame is one move of memory.
        self._older, self._newer = pixels[:-frame], pixels[frame:]

    def seed(self, seed: int) -> None:
        """Forget the running game; the next reset begins the first game of `seed`."""
        self.game.seed(seed)
        self.ended = True
        self._length = 0

    def reset(self) -> None:
        """Begin the next episode; the row carries nothing but its first observation."""
        self._write_row(0.0, 0.0, terminated=False, truncated=False, reset=True)
        self._begin_episode()

    def step(self, action: int) -> None:
        """Play one agent step, or the reset that an ended episode still owes (NEXT_STEP)."""
        if self.ended:
            self.reset()
            return
        ended = self._play(action)
        if ended and self._settings.autoreset_mode == "SAME_STEP":
            self._slots.final_stacks[self._row] = self._stack
            self._begin_episode()

    def get_state(self) -> State:
        """The game's state, the frame stack and the lane's counters."""
        state = {f"game.{key}": value for key, value in self.game.get_state().items()}
        state["stack"] = self._stack.copy()
        state["counters"] = np.array([self.ended, self._length], np.int64)
        return state

    def set_state(self, state: State) -> None:
        """Go on exactly where `get_state` was called."""
        game = {key.removeprefix("game."): value for key, value in state.items() if key.startswith("game.")}
        self.game.set_state(game)
        self._stack[:] = state["stack"]
        ended, self._length = state["counters"].tolist()
        self.ended = bool(ended)

    def _begin_episode(self) -> None:
        restart = self.game.reset(self._newest)
        self._stack[:-1] = self._newest if self._settings.padding_type == "reset" else 0
        # The no-op and FIRE of a reset can lose the game that they were to go on with.
        if restart.lost_score is not None and self._length > 0:
            self._report_game(restart.lost_score)
        if restart.new_game:
            self._length = 0
        self._slots.lives[self._row] = self.game.lives
        self.ended = False

    def _play(self, action: int) -> bool:
        self._older[:] = self._newer
        raw, terminated, truncated, game_over = self.game.step(action, self._newest)
        self._length += 1
        if self._length == self._settings.max_episode_steps and not game_over:
            self.game.end_game()
            truncated = game_over = True
        reward = float((raw > 0) - (raw < 0)) if self._settings.clip_reward else raw
        self.ended = terminated or truncated
        self._write_row(reward, raw, terminated=terminated, truncated=truncated, reset=False)
        if game_over:
            self._report_game(self.game.score)
        return self.ended

    def _write_row(
        self, reward: float, raw_reward: float, *, terminated: bool, truncated: bool, reset: bool
    ) -> None:
        slots, row = self._slots, self._row
        slots.reward[row] = reward
        slots.raw_reward[row] = raw_reward
        slots.terminated[row] = terminated
        slots.truncated[row] = truncated
        slots.reset[row] = reset
        slots.lives[row] = self.game.lives
        slots.game_over[row] = False
        slots.game_score[row] = 0.0
        slots.game_length[row] = 0

    def _report_game(self, score: float) -> None:
        slots, row = self._slots, self._row
        slots.game_over[row] = True
        slots.game_score[row] = score
        slots.game_length[row] = self._length
        self._length = 0


class LaneGroup:
    """The lanes that one process plays; states carry the lane's number, so groups can be cut differently."""

    def __init__(
        self,
        env_id: str,
        settings: EnvSettings,
        rows: Sequence[int],
        slots: Slots,
        seed: int,
        first_lane: int = 0,
    ) -> None:
        games = [build_game(env_id, settings, first_lane + row, seed) for row in rows]
        self.lanes = [Lane(game, settings, slots, row) for row, game in zip(rows, games, strict=True)]
        self.action_meanings = self.lanes[0].game.action_meanings
        self.frame_skip = self.lanes[0].game.frame_skip
        self._rows = rows
        self._slots = slots

    def reset(self, seed: int | None) -> None:
        """Reset every lane; with a seed, begin new games."""
        for lane in self.lanes:
            if seed is not None:
                lane.seed(seed)
            lane.reset()

    def step(self) -> None:
        """Step every lane that does not rest with the action of its row."""
        actions, rests = self._slots.action, self._slots.rests
        for row, lane in zip(self._rows, self.lanes, strict=True):
            if not rests[row]:
                lane.step(int(actions[row]))

    def begin_step(self) -> None:
        """Nothing runs by itself here: `end_step` plays."""

    def end_step(self) -> None:
        """The step that `begin_step` announced."""
        self.step()

    def get_state(self) -> State:
        """Every lane's state under the lane's number."""
        states = zip(self._rows, self.lanes, strict=True)
        return {f"lane{row}.{key}": value for row, lane in states for key, value in lane.get_state().items()}

    def close(self) -> None:
        """Nothing to stop: the lanes live in this process."""

    def set_state(self, state: State) -> None:
        """Go on exactly where `get_state` was called; other lanes' arrays are ignored."""
        for row, lane in zip(self._rows, self.lanes, strict=True):
            prefix = f"lane{row}."
            lane.set_state({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
