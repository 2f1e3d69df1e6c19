"""The front doors: `make_env` for one game, `make_vec` for many."""

import difflib
from typing import Any

from gymnasium.envs.registration import EnvSpec
from pydantic import ValidationError

from mbpo_fast.envs.registry import parse_env_id
from mbpo_fast.envs.settings import EnvSettings
from mbpo_fast.envs.single import GameEnv
from mbpo_fast.envs.vector import GameVectorEnv, check_seed
from mbpo_fast.errors import UsageError


def make_env(env_id: str, *, seed: int = 0, render_mode: str | None = None, **settings: Any) -> GameEnv:
    """One game as a `gymnasium.Env` with observations [stack_size, screen_size, screen_size] u8.

    env_id: `Catch`, `<Game>NoFrameskip-v4` or `-v0`, `ALE/<Game>-v5`. seed: for a first reset without one.
    render_mode: None or "rgb_array". settings: the fields of `EnvSettings`.
    Raises UsageError for an unknown game or a bad setting, MissingExtraError without ale-py.
    """
    checked = _settings(settings)
    if render_mode not in (None, "rgb_array"):
        raise UsageError(f"render_mode: expected None or 'rgb_array', got {render_mode!r}")
    env = GameEnv(env_id, checked, seed=check_seed(seed), render_mode=render_mode)
    env.spec = _spec(env_id, seed, settings)
    return env


def make_vec(
    env_id: str,
    num_envs: int,
    *,
    seed: int = 0,
    workers: int = 0,
    caller_plays: bool = False,
    first_lane: int = 0,
    **settings: Any,
) -> GameVectorEnv:
    """`num_envs` games as a `gymnasium.vector.VectorEnv` with observations [N, stack_size, size, size] u8.

    workers: processes that share the games out among them, at most one a game; 0: play in this process. The
    bytes do not depend on it. caller_plays: this process is one of the workers, which is fastest where it
    would only wait for the others. seed: for a first reset without one. first_lane: the number of the first
    game. A game's random draws depend on its number: by it, environments that share a seed share no games.
    settings: the fields of `EnvSettings`.
    Raises UsageError for an unknown game or a bad setting, MissingExtraError without ale-py.
    """
    if num_envs < 1 or workers < 0 or first_lane < 0:
        raise UsageError(
            "make_vec: expected num_envs >= 1, workers >= 0 and first_lane >= 0, "
            f"got {num_envs}, {workers} and {first_lane}"
        )
    parse_env_id(env_id)
    env = GameVectorEnv(
        env_id,
        num_envs,
        _settings(settings),
        seed=check_seed(seed),
        workers=workers,
        first_lane=first_lane,
        caller_plays=caller_plays,
    )
    env.spec = _spec(env_id, seed, settings)
    return env


def _settings(values: dict[str, Any]) -> EnvSettings:
    try:
        return EnvSettings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] != "extra_forbidden":
            raise UsageError(f"environment setting {name}: {first['msg']}, got {first['input']!r}") from None
        close = difflib.get_close_matches(name, EnvSettings.model_fields, n=1)
        hint = f": did you mean '{close[0]}'?" if close else ""
        raise UsageError(f"unknown environment setting '{name}'{hint}") from None


def _spec(env_id: str, seed: int, settings: dict[str, Any]) -> EnvSpec:
    # With it `gymnasium.make(env.spec)` builds the same environment; no registration is needed.
    kwargs = {"env_id": env_id, "seed": seed, **settings}
    return EnvSpec(env_id, entry_point="mbpo_fast.envs.make:make_env", kwargs=kwargs)
