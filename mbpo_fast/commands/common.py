"""What commands share: settings from options, checks of options, tables, file names."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mbpo_fast.errors import UsageError


def load_settings(sources: Sequence[str], overrides: Iterable[str] | None, seed: int | None = None) -> Any:
    """The `Config` of presets or files and `KEY=VALUE` texts; UsageError for whatever is wrong."""
    from mbpo_fast.config import load_config

    values = dict(item.partition("=")[::2] for item in overrides or ())
    return load_config(sources, values if seed is None else values | {"seed": str(seed)})


def require(option: str, value: object, fulfilled: bool, expected: str) -> None:
    """UsageError that names the option, unless `fulfilled`."""
    if not fulfilled:
        raise UsageError(f"{option}: expected {expected}, got {value}")


def require_file(option: str, file: Path | None) -> None:
    """UsageError unless a file can be written there: found out before anything is played or trained."""
    fits = file is None or (file.parent.is_dir() and not file.is_dir())
    require(option, file, fits, "a file in a folder that exists")


def require_video(option: str, file: Path | None) -> None:
    """As `require_file`, of a format that videos have."""
    require_file(option, file)
    known = file is None or file.suffix in ("", ".mp4", ".gif")
    require(option, file, known, "a file that ends in .mp4 or .gif")


def run_name(sources: Sequence[str]) -> str:
    """The name that a run folder has from its presets and files."""
    return slug("-".join(Path(source).stem for source in sources))


def slug(text: str) -> str:
    """Letters, digits, dots, dashes and underscores of a text; the rest becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "run"


def print_rows(rows: Iterable[Sequence[str]]) -> None:
    """Columns of text, aligned by spaces; the last one is as long as it likes."""
    table = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
    for row in table:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))


def write_json(path: Path, content: Any) -> None:
    """A JSON file for people: indented, with a line end."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
