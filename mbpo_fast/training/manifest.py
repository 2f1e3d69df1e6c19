"""A checkpoint's manifest: every file that it needs, with size and sha256, and a digest of itself."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mbpo_fast.errors import UsageError
from mbpo_fast.training.tensor_file import FileEntry, write_json

FORMAT_VERSION = 1
STATE_FILES = ("tensors.safetensors", "state.json")
_FILE_NAME = "manifest.json"
_SEGMENT_NAME = re.compile(r"[A-Za-z0-9_]+-\d+-\d+-[0-9a-f]{8}\.safetensors")


@dataclass(frozen=True)
class Segment:
    """Slots [first, last) of a buffer in one file."""

    file: str
    first: int
    last: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint consists of: its own files, and for each buffer the segments and the counters."""

    step: int
    files: Mapping[str, FileEntry]
    buffers: Mapping[str, list[Segment]]
    counters: Mapping[str, dict[str, int]]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `folder`/manifest.json, and sync it."""
    content = {
        "format_version": FORMAT_VERSION,
        "step": manifest.step,
        "files": {name: entry._asdict() for name, entry in manifest.files.items()},
        "buffers": {name: [asdict(s) for s in segments] for name, segments in manifest.buffers.items()},
        "counters": manifest.counters,
    }
    write_json(folder / _FILE_NAME, content | {"digest": _digest(content)})


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint folder; UsageError when it is missing, altered or of another format."""
    path = folder / _FILE_NAME
    if path.is_symlink():
        raise UsageError(f"{path}: expected a file, got a link")
    try:
        content = json.loads(path.read_bytes())
        version, digest = content["format_version"], content.pop("digest", None)
    except FileNotFoundError:
        raise UsageError(f"{path}: the file is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UsageError(f"{path}: not a checkpoint manifest") from None
    if version != FORMAT_VERSION:
        raise UsageError(f"{path}: expected format version {FORMAT_VERSION}, got {version!r}")
    if digest != _digest(content):
        raise UsageError(f"{path}: the contents were altered (sha256 differs)")
    buffers = {name: [Segment(**s) for s in segments] for name, segments in content["buffers"].items()}
    if not all(_SEGMENT_NAME.fullmatch(s.file) for segments in buffers.values() for s in segments):
        raise UsageError(f"{path}: names a file outside of its folder")
    files = {name: FileEntry(**content["files"][name]) for name in STATE_FILES}
    return Manifest(content["step"], files, buffers, content["counters"])


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
