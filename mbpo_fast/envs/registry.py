"""From an environment id to the game behind it."""

import difflib
import re
from typing import NamedTuple

from mbpo_fast.envs.atari import DEFAULT_SIZE as ATARI_SIZE
from mbpo_fast.envs.atari import AtariGame, game_names
from mbpo_fast.envs.catch import CELLS, CatchGame
from mbpo_fast.envs.catch import DEFAULT_SIZE as CATCH_SIZE
from mbpo_fast.envs.game import Game
from mbpo_fast.envs.settings import EnvSettings
from mbpo_fast.errors import UsageError

CATCH_IDS = ("Catch", "mbpo_fast/Catch-v0")
_ATARI_ID = re.compile(r"(?P<ale>ALE/)?(?P<name>\w+?)(?P<plain>NoFrameskip)?-(?P<version>v0|v4|v5)")
# Sticky-action probability by version, as ale-py registers its ids.
_STICKY = {"v0": 0.25, "v4": 0.0, "v5": 0.25}


class GameId(NamedTuple):
    """What an environment id names: the ROM (None: Catch) and its sticky-action probability."""

    rom: str | None
    sticky: float


def parse_env_id(env_id: str) -> GameId:
    """Read `Catch`, `<Game>NoFrameskip-v4`, `-v0` or `ALE/<Game>-v5`; anything else is a UsageError."""
    if env_id in CATCH_IDS:
        return GameId(None, 0.0)
    match = _ATARI_ID.fullmatch(env_id)
    rom = game_names().get(match["name"]) if match else None
    if match is None or rom is None or (match["version"] == "v5") != bool(match["ale"]):
        raise UsageError(_unknown(env_id))
    if match["ale"] and match["plain"]:
        raise UsageError(_unknown(env_id))
    if not match["ale"] and not match["plain"]:
        raise UsageError(
            f"environment '{env_id}' repeats an action for a random 2 to 4 frames, mbpo_fast for exactly "
            f"frame_skip: use '{match['name']}NoFrameskip-{match['version']}' or 'ALE/{match['name']}-v5'"
        )
    return GameId(rom, _STICKY[match["version"]])


def build_game(env_id: str, settings: EnvSettings, lane: int, seed: int) -> Game:
    """The game of one lane; its random draws depend on the lane, never on how many lanes there are."""
    game = parse_env_id(env_id)
    if game.rom is None:
        return CatchGame(frame_size(env_id, settings), lane, seed)
    return AtariGame(game.rom, sticky_probability(env_id, settings), settings, lane, seed)


def frame_size(env_id: str, settings: EnvSettings) -> int:
    """Height and width of a frame; a UsageError where Catch cannot be drawn at that size."""
    if parse_env_id(env_id).rom is not None:
        return settings.screen_size or ATARI_SIZE
    size = settings.screen_size or CATCH_SIZE
    if size % CELLS:
        raise UsageError(f"screen_size of Catch: expected a multiple of {CELLS}, got {size}")
    return size


def sticky_probability(env_id: str, settings: EnvSettings) -> float:
    """The setting, or what the id says where it is None."""
    asked = settings.repeat_action_probability
    return parse_env_id(env_id).sticky if asked is None else asked


def _unknown(env_id: str) -> str:
    names = {name.lower(): name for name in (*game_names(), "Catch")}
    core = re.sub(r"^.*[/:]|NoFrameskip|Deterministic|-ram|-?v\d+$|[_\- ]", "", env_id).lower()
    close = difflib.get_close_matches(core, names, n=1)
    if not close:
        return f"unknown environment '{env_id}': expected Catch, <Game>NoFrameskip-v4 or ALE/<Game>-v5"
    name = names[close[0]]
    if name != "Catch":
        name = f"ALE/{name}-v5" if env_id.startswith("ALE/") else f"{name}NoFrameskip-v4"
    return f"unknown environment '{env_id}': did you mean '{name}'?"
