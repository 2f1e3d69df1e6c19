"""Atari on `ale_py.ALEInterface`: the emulator, and the game that an agent plays on it.

The screens, their max and the stale screens at a game's end follow `gymnasium.wrappers.AtariPreprocessing`;
lives and FIRE follow `AtariWrapper` of stable-baselines3. Nothing else in the package imports ale_py.

States. The emulator's own state leaves things out: the action that stickiness repeats, the video chip's masks
and frame buffers. Restored into another emulator, Qbert goes on differently from the first frame. But a game
begins with a reset of the whole machine. So a state here is the emulator before that reset and every action
since; restoring plays them again, and checks that it has arrived where the state was taken.
"""

import functools
import threading
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mbpo_fast.envs.game import Frame, Outcome, Restart, State
from mbpo_fast.envs.settings import MAX_GAME_FRAMES, EnvSettings
from mbpo_fast.errors import missing_extra
from mbpo_fast.ops import Stream, look_up_gray, preprocess_frames, random_integers

DEFAULT_SIZE = 84
# These cartridges are for two players; ale-py registers no id for them.
_TWO_PLAYERS = frozenset({"combat", "joust", "maze_craze", "warlords"})
# ale_py.Action.NOOP; two games know no such action, but every emulator does.
_NOOP = 0
# No colour is this bright: it marks those whose gray level has not been read yet.
_UNKNOWN_GRAY = 255


class Facts(NamedTuple):
    """What ale-py itself says about a game."""

    action_meanings: tuple[str, ...]
    lives: int | None


class _Scratch(threading.local):
    """Screens that a step writes and no later step reads: one set for all games of a thread."""

    def __init__(self) -> None:
        self._by_shape: dict[tuple[int, int], tuple[Frame, Frame]] = {}

    def of(self, shape: tuple[int, int]) -> tuple[Frame, Frame]:
        """Colour numbers and gray levels of a screen, u8 [H, W] each."""
        if shape not in self._by_shape:
            self._by_shape[shape] = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        return self._by_shape[shape]


_SCRATCH = _Scratch()


@functools.cache
def _ale_py() -> ModuleType:
    try:
        import ale_py
        import ale_py.registration
        import ale_py.roms
    except ImportError as error:
        raise missing_extra("ale-py", extra="atari") from error
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    return ale_py


@functools.cache
def game_names() -> dict[str, str]:
    """Every one-player game of ale-py, by its name in environment ids: SpaceInvaders -> space_invaders."""
    ale_py = _ale_py()
    roms = sorted(set(ale_py.roms.get_all_rom_ids()) - _TWO_PLAYERS)
    return {ale_py.registration.rom_id_to_name(rom): rom for rom in roms}


def ale_facts(rom: str, full_action_space: bool = False) -> Facts:
    """Load a game in a bare emulator and ask it."""
    ale = _ale_py().ALEInterface()
    ale.loadROM(_ale_py().roms.get_rom_path(rom))
    # Lives are read from the game's memory, which some games fill only after some frames: no fact.
    return Facts(tuple(action.name for action in _actions(ale, full_action_space)), lives=None)


def _actions(ale: Any, full_action_space: bool) -> list[Any]:
    return list(ale.getLegalActionSet() if full_action_space else ale.getMinimalActionSet())


def _as_array(data: bytes | bytearray) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8).copy()


class AtariGame:
    """One cartridge in one emulator; frames are [size, size] u8.

    Sources: AtariPreprocessing (Gymnasium 1.4) for `_skip`; NoopResetEnv, EpisodicLifeEnv and FireResetEnv
    (stable-baselines3 2.9) for `reset`, in that order.
    """

    def __init__(self, rom: str, sticky: float, settings: EnvSettings, lane: int, seed: int) -> None:
        self._ale = _ale_py().ALEInterface()
        self._rom_path = _ale_py().roms.get_rom_path(rom)
        self._settings = settings
        self._lane = lane
        self._ale.setFloat("repeat_action_probability", sticky)
        # One limit at a time: the emulator's own, or the lane's count of agent steps.
        self._ale.setInt("max_num_frames_per_episode", 0 if settings.max_episode_steps else MAX_GAME_FRAMES)
        self.sticky_probability = round(self._ale.getFloat("repeat_action_probability"), 6)
        self.frame_skip = settings.frame_skip
        self._untouched = False
        self.seed(seed)
        actions = _actions(self._ale, settings.full_action_space)
        self.action_meanings = names = tuple(action.name for action in actions)
        self._codes = [action.value for action in actions]
        self._moves = {action.value: action for action in _ale_py().Action.__members__.values()}
        self._fires = settings.fire_reset and len(names) >= 3 and names[1] == "FIRE"
        size = settings.screen_size or DEFAULT_SIZE
        self._size = (size, size)
        # The maximum of the last two screens: the next frame shows it where a game ends too soon for others.
        self._seen = np.zeros((1, 1, *self._ale.getScreenDims()), np.uint8)
        self._screen = self._seen[0, 0]
        self._grays = np.full(256, _UNKNOWN_GRAY, np.uint8)

    def seed(self, seed: int) -> None:
        """Put the cartridge in anew; no-ops and sticky actions follow from `seed` and the lane."""
        self._seed = seed
        self._games = 0
        self._game_over = True
        self.score = 0.0
        self.lives = 0
        self._lost_score: float | None = None
        self._before_game = b""
        self._played = bytearray()
        self._screens_known = True
        ale_seed = random_integers(seed, Stream.NOOP, 0, self._lane + 1, 2**31, word=2)[self._lane]
        self._load(int(ale_seed))

    def reset(self, frame: Frame) -> Restart:
        """A new game, or the next life of the running one; then FIRE where the game has it."""
        games = self._games
        self._lost_score = None
        self._begin_life()
        if self._fires:
            self._press_fire()
        preprocess_frames(self._seen, self._size, frame)
        return Restart(self._games > games, self._lost_score)

    def step(self, action: int, frame: Frame) -> Outcome:
        """Hold the button for `frame_skip` emulator frames."""
        outcome = self._step(self._codes[action])
        if self._screens_known or not outcome.game_over:
            preprocess_frames(self._seen, self._size, frame)
        return outcome

    def end_game(self) -> None:
        """Give the running game up: the next reset begins a new one."""
        self._game_over = True

    def render(self) -> Frame:
        """The emulator's screen, u8 [H, W, 3]."""
        screen: Frame = self._ale.getScreenRGB()
        return screen

    def get_state(self) -> State:
        """The emulator before this game, the actions since, where they lead, and the counters."""
        counters = [self._seed, self._games, self._game_over, self.lives]
        return {
            "before_game": _as_array(self._before_game),
            "played": _as_array(self._played),
            "emulator": _as_array(self._emulator_bytes()),
            "counters": np.array(counters, np.int64),
        }

    def set_state(self, state: State) -> None:
        """Play the game of `get_state` again; ValueError where it does not lead to the same state."""
        seed, games, game_over, lives = state["counters"].tolist()
        self.seed(seed)
        if games > 0:
            self._ale.restoreState(_ale_py().ALEState(state["before_game"].tobytes()))
            self._games = games - 1
            self._new_game()
            for code in state["played"].tolist():
                self._skip(code)
        if self._emulator_bytes() != state["emulator"].tobytes():
            raise ValueError(
                "[set_state] expected the same game again, got another: other ale-py or settings?"
            )
        self._game_over, self.lives = bool(game_over), lives

    def jump(self, state: State) -> None:
        """Take over the emulator's own copy, with what it leaves out (see States above).

        The screens before it are not known: a step that loses the game shows no new frame.
        """
        self._ale.restoreState(_ale_py().ALEState(state["emulator"].tobytes()))
        self._untouched = False
        self._screens_known = False
        self._played.clear()
        _, _, game_over, self.lives = state["counters"].tolist()
        self._game_over = bool(game_over)

    def _load(self, ale_seed: int) -> None:
        # The emulator takes its seed only when a cartridge goes in, which costs 0.1 s: not twice for nothing.
        if self._untouched and self._ale.getInt("random_seed") == ale_seed:
            return
        self._ale.setInt("random_seed", ale_seed)
        self._ale.loadROM(self._rom_path)
        self._untouched = True

    def _emulator_bytes(self) -> bytes:
        serialized: bytes = self._ale.cloneState(include_rng=True).serialize()
        return serialized

    def _new_game(self) -> None:
        self._before_game = self._emulator_bytes()
        self._played.clear()
        self._ale.reset_game()
        self.score = 0.0
        noop = self._moves[_NOOP]
        for _ in range(self._draw_noops()):
            self.score += self._ale.act(noop)
            if self._ale.game_over():
                self._ale.reset_game()
                self.score = 0.0
        self._games += 1
        self._untouched = False
        self._read_gray(_SCRATCH.of(self._screen.shape)[0], self._screen)

    def _draw_noops(self) -> int:
        noop_max = self._settings.noop_max
        if noop_max == 0:
            return 0
        draws = random_integers(self._seed, Stream.NOOP, self._games, self._lane + 1, noop_max)
        return 1 + int(draws[self._lane])

    def _begin_life(self) -> None:
        if self._game_over or not self._settings.episodic_life:
            self._new_game()
        else:
            self._skip(_NOOP)
            if self._ale.game_over():
                self._note_lost_game()
                self._new_game()
        self.lives = self._ale.lives()

    def _press_fire(self) -> None:
        for code in self._codes[1:3]:
            outcome = self._step(code)
            if outcome.game_over:
                self._note_lost_game()
            if outcome.terminated or outcome.truncated:
                self._begin_life()

    def _note_lost_game(self) -> None:
        # Only the first was a game that the agent played; a second one would have been lost by FIRE alone.
        if self._lost_score is None:
            self._lost_score = self.score

    def _step(self, code: int) -> Outcome:
        reward = self._skip(code)
        lost_game = self._ale.game_over(with_truncation=False)
        truncated = self._ale.game_truncated()
        self._game_over = lost_game or truncated
        lives = self._ale.lives()
        # At 0 lives some games run on for a few frames before they are over: that is not one more end.
        lost_life = self._settings.episodic_life and 0 < lives < self.lives
        self.lives = lives
        return Outcome(reward, lost_game or lost_life, truncated, self._game_over)

    def _skip(self, code: int) -> float:
        """Hold an action and keep the last two screens; a game lost on the way leaves them stale."""
        ale, action, last = self._ale, self._moves[code], self.frame_skip - 1
        screen = self._screen
        colours, before = _SCRATCH.of(screen.shape)
        self._played.append(code)
        reward = 0
        for t in range(self.frame_skip):
            reward += ale.act(action)
            if ale.game_over():
                if t == last > 0:
                    # The screen before the end is seen, and with it what was seen before it.
                    np.maximum(before, screen, out=screen)
                break
            if t == last - 1:
                self._read_gray(colours, before)
            elif t == last:
                self._read_gray(colours, screen, before if last > 0 else None)
        self.score += reward
        return float(reward)

    def _read_gray(self, colours: Frame, screen: Frame, over: Frame | None = None) -> None:
        """The gray screen, or its maximum with `over`, from a table of the colours that this game has shown.

        The emulator's own conversion is slower: it is asked only for colours that are new.
        """
        self._ale.getScreen(colours)
        if look_up_gray(colours, self._grays, screen, over) == _UNKNOWN_GRAY:
            self._ale.getScreenGrayscale(screen)
            self._grays[colours] = screen
            look_up_gray(colours, self._grays, screen, over)
