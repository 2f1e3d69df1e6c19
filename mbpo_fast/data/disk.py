"""A buffer on disk: one folder of counters (JSON) and immutable segments (safetensors)."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

Segment = dict[str, npt.NDArray[Any]]
_SEGMENT_BYTES = 64 * 2**20
_EXTRA = "extra.safetensors"


def rows_of(row_bytes: int) -> int:
    """How many rows make a segment of about 64 MiB."""
    return max(1, _SEGMENT_BYTES // row_bytes)


def check_same(op: str, state: Mapping[str, int], own: Mapping[str, int], names: Iterable[str]) -> None:
    """ValueError where `state` differs from `own` in one of the names."""
    for name in names:
        if state.get(name) != own[name]:
            raise ValueError(f"[{op}] expected {name} {own[name]}, got {state.get(name)}")


def save(
    path: str | Path,
    state: Mapping[str, int],
    segments: Iterable[tuple[int, Segment]],
    extra: Segment | None = None,
) -> None:
    """Writes the folder under a temporary name and renames it: a folder `path` is always whole.

    `extra` holds arrays that change in place, unlike a segment: `load_extra` reads them.
    """
    target = Path(path)
    if target.exists():
        raise FileExistsError(f"[save] expected a path that does not exist, got {target}")
    aside = target.with_name(f"{target.name}.tmp{os.getpid()}")
    aside.mkdir(parents=True)
    try:
        starts = []
        for start, segment in segments:
            save_file(segment, aside / _file_name(start))
            starts.append(start)
        if extra is not None:
            save_file(extra, aside / _EXTRA)
        (aside / "state.json").write_text(json.dumps({"state": dict(state), "segments": starts}))
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def load(path: str | Path) -> tuple[dict[str, int], Iterator[tuple[int, Segment]]]:
    """The counters and the segments, which are read one at a time as they are asked for."""
    folder = Path(path)
    file = folder / "state.json"
    try:
        content = json.loads(file.read_text())
        state = {str(name): int(value) for name, value in content["state"].items()}
        starts = [int(start) for start in content["segments"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"[load] expected a readable {file}, got {error!r}") from error
    return state, _read(folder, starts)


def load_extra(path: str | Path) -> Segment:
    """The arrays that were saved as `extra`."""
    return _load_file(Path(path) / _EXTRA)


def _read(folder: Path, starts: list[int]) -> Iterator[tuple[int, Segment]]:
    for start in starts:
        yield start, _load_file(folder / _file_name(start))


def _load_file(file: Path) -> Segment:
    try:
        segment: Segment = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"[load] expected a readable {file}, got {error!r}") from error
    return segment


def _file_name(start: int) -> str:
    return f"segment-{start:012d}.safetensors"
