"""A sweep's folder: locked while a sweep works in it, and never shared by two different sweeps."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mbpo_fast.config.strict_yaml import dump_yaml, read_yaml
from mbpo_fast.errors import UsageError
from mbpo_fast.sweeps.schema import Sweep
from mbpo_fast.training.run_folder import locked, visible_files
from mbpo_fast.training.tensor_file import replace_text

COPY = "sweep.yaml"
PLAN = "plan.json"
_MAY_DIFFER = ("run_cap", "name", "description", "project", "entity", "program", "controller")


@contextmanager
def claimed(folder: Path, sweep: Sweep) -> Iterator[None]:
    """Hold the folder; UsageError when it is in use, or holds another sweep or something else."""
    _check(folder, sweep)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, "a sweep"):
        replace_text(folder / COPY, dump_yaml(dict(sweep.tree)))
        yield


def remembered(folder: Path, key: str, value: Any) -> Any:
    """What the folder noted under a key before; else `value`, which is noted now unless it is None."""
    path = folder / PLAN
    notes = json.loads(path.read_bytes()) if path.exists() else {}
    if key not in notes and value is not None:
        notes[key] = value
        replace_text(path, json.dumps(notes, indent=1) + "\n")
    return notes.get(key)


def _check(folder: Path, sweep: Sweep) -> None:
    copy = folder / COPY
    if copy.exists():
        old = read_yaml(copy, str(copy))
        changed = [
            key
            for key in {**old, **sweep.tree}
            if key not in _MAY_DIFFER and old.get(key) != sweep.tree.get(key)
        ]
        if changed:
            raise UsageError(
                f"{folder} holds another sweep: {', '.join(changed)} differ; choose another --folder"
            )
    elif folder.exists() and (not folder.is_dir() or visible_files(folder)):
        raise UsageError(f"{folder}: expected a new folder or a sweep, got something else")
