"""Is an environment what it should be? One row a fact, and the four stacked frames as pictures."""

import struct
import zlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mbpo_fast.envs.atari import Facts, ale_facts
from mbpo_fast.envs.make import make_env
from mbpo_fast.envs.registry import frame_size, parse_env_id, sticky_probability
from mbpo_fast.envs.settings import EnvSettings

# The reference task, written down rather than asked, so that a changed ale-py shows.
_SPACE_INVADERS = Facts(("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"), 3)
_CATCH = Facts(("LEFT", "STAY", "RIGHT"), 0)


class Check(NamedTuple):
    """One fact: what was looked at, what it is, what it should be, and whether they agree."""

    what: str
    value: str
    expected: str
    ok: bool


def verify_env(env_id: str, settings: EnvSettings | None = None) -> list[Check]:
    """Build the environment, reset it, and compare what it shows with what is known about the game.

    Space Invaders is held against a fixed table, any other game against ale-py's own answers; those know
    nothing of lives.
    """
    settings = settings or EnvSettings()
    env = make_env(env_id, **settings.model_dump())
    obs, info = env.reset(seed=0)
    facts = _facts(env_id, settings)
    size = frame_size(env_id, settings)
    rows = [
        ("environment id", env.spec.id if env.spec else None, env_id),
        ("observation shape", obs.shape, (settings.stack_size, size, size)),
        ("observation type", obs.dtype, np.dtype(np.float32 if settings.scale_obs else np.uint8)),
        ("action space", env.action_space, f"Discrete({len(facts.action_meanings)})"),
        ("actions", ", ".join(env.action_meanings), ", ".join(facts.action_meanings)),
        ("frame skip", env.frame_skip, 1 if parse_env_id(env_id).rom is None else settings.frame_skip),
        ("sticky action probability", env.sticky_probability, sticky_probability(env_id, settings)),
        ("lives", info["lives"], info["lives"] if facts.lives is None else facts.lives),
    ]
    env.close()
    return [Check(what, str(value), str(want), str(value) == str(want)) for what, value, want in rows]


def stack_pngs(obs: npt.NDArray[np.uint8]) -> list[bytes]:
    """The frames of one observation u8 [S, h, w], oldest first, each as a grayscale PNG file."""
    if obs.ndim != 3 or obs.dtype != np.uint8:
        raise ValueError(f"[stack_pngs] expected obs u8 [S, h, w], got {obs.dtype} {obs.shape}")
    return [_png(frame) for frame in obs]


def _facts(env_id: str, settings: EnvSettings) -> Facts:
    rom = parse_env_id(env_id).rom
    if rom is None:
        return _CATCH
    if rom == "space_invaders" and not settings.full_action_space:
        return _SPACE_INVADERS
    return ale_facts(rom, settings.full_action_space)


def _png(frame: npt.NDArray[np.uint8]) -> bytes:
    height, width = frame.shape
    # Eight bits a pixel, colour type 0 (gray); every line begins with its filter type, 0 (none).
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = np.pad(frame, ((0, 0), (1, 0))).tobytes()
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in parts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
