"""How W&B's sweep agent calls `train`: words as Python prints values, and a run that it has named already."""

import ast
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mbpo_fast.commands.common import slug


def plain_words(words: Sequence[str]) -> list[str]:
    """Words with `--group={'key': 1}` as `--group.key=1`, `--group.key=None` as null; others as they are."""
    return [plain for word in words for plain in _plain(word)]


def agent_folder() -> Path | None:
    """The run folder of a trial that an agent has started: W&B names the run, so trials never meet."""
    sweep, run = os.environ.get("WANDB_SWEEP_ID"), os.environ.get("WANDB_RUN_ID")
    return Path("runs") / f"sweep-{slug(sweep)}" / slug(run) if sweep and run else None


def _plain(word: str) -> list[str]:
    key, equals, text = word.partition("=")
    if not equals or not key.startswith("--"):
        return [word]
    if text == "None" and "." in key:
        return [f"{key}=null"]
    if not (text.startswith("{") or (key == "--config" and text.startswith("["))):
        return [word]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return [word]
    if isinstance(value, list):
        return [f"{key}={item}" for item in value]
    if not isinstance(value, dict):
        return [word]
    return [f"{name}={json.dumps(inner)}" for name, inner in _leaves(value, key)]


def _leaves(tree: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", value
