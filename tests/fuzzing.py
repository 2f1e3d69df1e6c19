"""Calls a binding with arguments that are partly wrong, and asks for a right answer or a clear error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Args = list[Any]


@dataclass(frozen=True)
class Target:
    """A binding, arguments that fit it, and whether a result is right for them.

    `trusted`: places of arguments that no binding can check, such as addresses; they are never wrong.
    `sizes`: it allocates what it is asked for, so it is not asked for terabytes.
    """

    name: str
    call: Callable[..., Any]
    fitting: Callable[[np.random.Generator], Args]
    is_right: Callable[[Args, Any], bool]
    trusted: tuple[int, ...] = ()
    sizes: bool = False


def pixels(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, np.uint8)


def flags(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.random(shape) < 0.3


def fuzz(
    targets: Sequence[Target], state: Callable[[], Any], calls: int, rng: np.random.Generator
) -> tuple[dict[str, int], dict[str, int]]:
    """Make so many calls; how many of each target gave an answer, and how many an error.

    `state`: what no call may change that is refused, or that only reads.
    """
    answers = {target.name: 0 for target in targets}
    errors = dict(answers)
    unclear = []
    for _ in range(calls):
        target = targets[rng.integers(len(targets))]
        args = _partly_wrong(rng, target)
        before = state()
        try:
            result = target.call(*args)
        except (ValueError, TypeError) as error:
            if not str(error).startswith(("[", target.name.split(".")[-1] + "()", "__init__()")):
                unclear.append((target.name, args, error))
            errors[target.name] += 1
        except MemoryError:
            errors[target.name] += 1
        else:
            assert target.is_right(args, result), (target.name, args, result)
            answers[target.name] += 1
        assert state() == before, (target.name, args)
    assert not unclear
    return answers, errors


def _partly_wrong(rng: np.random.Generator, target: Target) -> Args:
    """Arguments that fit, but for at most two of them."""
    args = target.fitting(rng)
    places = [place for place in range(len(args)) if place not in target.trusted]
    for place in rng.choice(places, rng.integers(0, min(3, len(places) + 1)), replace=False):
        args[place] = wrong(rng, args[place], sizes=target.sizes)
    return args


def wrong(rng: np.random.Generator, value: Any, *, sizes: bool = False) -> Any:
    """Something else than `value`, or the same in another form."""
    if isinstance(value, np.ndarray):
        return _wrong_array(rng, value)
    if isinstance(value, dict):
        name = rng.choice(list(value))
        changed = dict(value) | {name: _wrong_array(rng, value[name])}
        return [changed, {key: x for key, x in value.items() if key != name}, None][rng.integers(3)]
    others: list[Any] = [-1, 0, 1, 2, 3, 300, 2**63 - 1, 2**63, -(2**63) - 1, 2**64]
    others += [] if sizes else [2**40]
    others += [1.5, np.nan, np.inf, None, "", "zero", "reset", np.int8(2), np.float32(1), True, []]
    others.append(np.zeros(3))
    return others[rng.integers(len(others))]


def _wrong_array(rng: np.random.Generator, value: np.ndarray) -> Any:
    frozen = value.copy()
    frozen.setflags(write=False)
    largest = 1 if value.dtype == bool else np.iinfo(np.int8).max
    others = [
        lambda: value.astype(rng.choice([np.float64, np.int32, np.uint8, np.int64, np.bool_])),
        lambda: value[:0],
        lambda: value[:-1],
        lambda: value[::-1],
        lambda: np.concatenate([value, value]),
        lambda: np.repeat(value, 2, axis=-1)[..., ::2],
        lambda: value[None],
        lambda: value.T,
        lambda: frozen,
        lambda: value.tolist(),
        lambda: np.where(flags(rng, *value.shape), -1, value).astype(value.dtype),
        lambda: np.full_like(value, largest),
        lambda: None,
    ]
    if value.dtype == np.float32:
        others.append(lambda: np.where(flags(rng, *value.shape), np.nan, value).astype(np.float32))
    if value.dtype == np.int64:
        others.append(lambda: _one_replaced(rng, value))
    return others[rng.integers(len(others))]()


def _one_replaced(rng: np.random.Generator, value: np.ndarray) -> np.ndarray:
    replaced = value.copy()
    if value.size:
        extremes = [-(2**63), -2, 0, 1, 4, 7, 16, 2**14, 2**31, 2**62, 2**63 - 1]
        replaced.flat[rng.integers(value.size)] = extremes[rng.integers(len(extremes))]
    return replaced
