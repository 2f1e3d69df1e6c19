"""Checkpoints: a folder each, written aside and renamed; buffers in immutable segments that they share.

    root/ckpt_000010000/{manifest.json, tensors.safetensors, state.json}
    root/segments/<buffer>-<from>-<to>-<hash>.safetensors

A manifest names every file it needs with size and sha256, so that nothing damaged is ever loaded.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray
from safetensors import SafetensorError

from mbpo_fast.errors import UsageError
from mbpo_fast.training.manifest import Manifest, Segment, read_manifest, write_manifest
from mbpo_fast.training.tensor_file import (
    FileEntry,
    Leaves,
    damage,
    flatten,
    read_arrays,
    read_tensors,
    sync_folder,
    unflatten,
    write_json,
    write_tensors,
)

SEGMENTS = "segments"
# `.old` is a checkpoint that makes room for a newer one of the same step: valid until that one is in place.
_FOLDER = re.compile(r"ckpt_(\d{9,})(\.old)?")


class Segmented(Protocol):
    """A buffer whose slots [oldest, total) never change while its layout, the constants in `state`, stays."""

    @property
    def oldest(self) -> int:
        """First slot that it still holds."""

    @property
    def total(self) -> int:
        """Slots ever written; only grows."""

    def export(self, first: int, last: int) -> dict[str, NDArray[Any]]:
        """The slots [first, last)."""

    def state(self) -> dict[str, int]:
        """Its counters: total, oldest, draws; and its constants, such as horizon."""

    def restore(self, state: dict[str, int], segments: Iterable[tuple[int, dict[str, NDArray[Any]]]]) -> None:
        """Become what `state` and the segments (first slot, arrays), oldest first, say."""


class CheckpointStore:
    """The checkpoints of one run; the newest `keep` stay."""

    def __init__(self, root: Path, keep: int) -> None:
        if keep < 1:
            raise ValueError(f"[CheckpointStore] expected keep >= 1, got {keep}")
        self.root = root
        self.keep = keep
        # Buffer -> its constants and segments in the checkpoint that this store saved or loaded last.
        self._known: dict[str, tuple[dict[str, int], list[Segment]]] = {}

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        return sorted(_folders(self.root))

    def latest(self) -> Path | None:
        """The newest checkpoint; None when there is none."""
        folders = _folders(self.root)
        return folders[max(folders)] if folders else None

    def save(self, step: int, state: Mapping[str, Any], buffers: Mapping[str, Segmented]) -> Path:
        """Write a checkpoint; the older ones stay usable until it is complete, and OSError leaves them so.

        `state` is a tree of dicts with str keys, lists, scalars, tensors and arrays; TypeError otherwise.
        """
        self._clean()
        target = self.root / f"ckpt_{step:09d}"
        aside = self.root / f".tmp-{step}"
        aside.mkdir()
        try:
            segments = {name: self._save_segments(name, buffer) for name, buffer in buffers.items()}
            files = _write_state(aside, state)
            counters = {name: dict(buffer.state()) for name, buffer in buffers.items()}
            write_manifest(aside, Manifest(step, files, segments, counters))
            _put_in_place(aside, target)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        self._known = {name: (_constants(counters[name]), segments[name]) for name in buffers}
        self._collect()
        return target

    def load(self, path: Path, buffers: Mapping[str, Segmented]) -> dict[str, Any]:
        """Check every file that is needed, fill `buffers` (any subset of the saved ones), return the state.

        UsageError, before anything is touched, when a file is missing, truncated or altered.
        """
        try:
            manifest = self._verified(path, buffers)
        except UsageError as error:
            raise UsageError(f"{error}{_advice(path)}") from None
        state: dict[str, Any] = _read_state(path)
        for name, buffer in buffers.items():
            buffer.restore(manifest.counters[name], self._read_segments(manifest.buffers[name]))
            self._known[name] = _constants(manifest.counters[name]), manifest.buffers[name]
        return state

    def _verified(self, path: Path, buffers: Iterable[str]) -> Manifest:
        """The manifest, once every file that a load of `buffers` reads is what it says."""
        manifest = read_manifest(path)
        for name, entry in manifest.files.items():
            _check(path / name, entry)
        for name in buffers:
            if name not in manifest.buffers:
                raise UsageError(f"{path}: this checkpoint holds no buffer {name!r}")
            for segment in manifest.buffers[name]:
                _check(self._segment_path(segment), FileEntry(segment.size, segment.sha256))
        return manifest

    def _segment_path(self, segment: Segment) -> Path:
        return self.root / SEGMENTS / segment.file

    def _read_segments(self, segments: Sequence[Segment]) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
        for segment in segments:
            yield segment.first, read_arrays(self._segment_path(segment))

    def _save_segments(self, name: str, buffer: Segmented) -> list[Segment]:
        """Segments that cover [oldest, total): those already on disk, and one with what is new."""
        constants, known = self._known.get(name, ({}, []))
        kept = [s for s in known if s.last > buffer.oldest and constants == _constants(buffer.state())]
        covers = kept and kept[0].first <= buffer.oldest and kept[-1].last <= buffer.total
        if not covers or not all(self._segment_path(s).is_file() for s in kept):
            kept = []
        first = kept[-1].last if kept else buffer.oldest
        if first < buffer.total:
            kept.append(self._write_segment(name, buffer, first))
        return kept

    def _write_segment(self, name: str, buffer: Segmented, first: int) -> Segment:
        folder = self.root / SEGMENTS
        folder.mkdir(exist_ok=True)
        aside = folder / f".tmp-{name}"
        try:
            entry = write_tensors(aside, buffer.export(first, buffer.total))
            # The hash in the name keeps a run that went back to an older checkpoint from replacing a
            # segment that a newer one refers to.
            file = f"{name}-{first}-{buffer.total}-{entry.sha256[:8]}.safetensors"
            aside.replace(folder / file)
        finally:
            aside.unlink(missing_ok=True)
        sync_folder(folder)
        return Segment(file, first, buffer.total, *entry)

    def _clean(self) -> None:
        """Remove what an interrupted save left behind."""
        self.root.mkdir(parents=True, exist_ok=True)
        for old in self.root.glob("ckpt_*.old"):
            if old.with_suffix("").exists():
                _remove(old)
        for leftover in self.root.glob(".tmp-*"):
            shutil.rmtree(leftover)
        for leftover in (self.root / SEGMENTS).glob(".tmp-*"):
            leftover.unlink()

    def _collect(self) -> None:
        """Delete checkpoints beyond `keep`, then the segments that no remaining one refers to."""
        folders = _folders(self.root)
        for step in sorted(folders)[: -self.keep]:
            _remove(folders.pop(step))
        try:
            manifests = [read_manifest(folder) for folder in folders.values()]
        except UsageError:
            return  # a damaged manifest no longer tells what it needs: better too many segments than too few
        used = {s.file for manifest in manifests for segments in manifest.buffers.values() for s in segments}
        for file in (self.root / SEGMENTS).glob("*.safetensors"):
            if file.name not in used:
                file.unlink()


def _folders(root: Path) -> dict[int, Path]:
    """Step -> folder of each complete checkpoint."""
    found: dict[int, Path] = {}
    for path in sorted(root.glob("ckpt_*")):  # the plain name sorts before `.old`
        match = _FOLDER.fullmatch(path.name)
        if match and path.is_dir():
            found.setdefault(int(match[1]), path)
    return found


def _put_in_place(aside: Path, target: Path) -> None:
    """Rename a complete folder to its name, with a valid checkpoint of that step at every moment."""
    sync_folder(aside)
    old = target.with_name(f"{target.name}.old")
    if target.exists():
        target.rename(old)
    aside.rename(target)
    sync_folder(target.parent)
    if old.exists():
        _remove(old)


def _remove(folder: Path) -> None:
    """Delete a checkpoint so that it is there as a whole or not at all."""
    gone = folder.with_name(f".tmp-gone-{folder.name}")
    folder.rename(gone)
    shutil.rmtree(gone)


def _constants(state: Mapping[str, int]) -> dict[str, int]:
    return {name: value for name, value in state.items() if name not in ("total", "oldest", "draws")}


def _write_state(folder: Path, state: Mapping[str, Any]) -> dict[str, FileEntry]:
    leaves: Leaves = {}
    tree = flatten(state, leaves)
    return {
        "tensors.safetensors": write_tensors(folder / "tensors.safetensors", leaves),
        "state.json": write_json(folder / "state.json", tree),
    }


def _read_state(folder: Path) -> Any:
    tree = json.loads((folder / "state.json").read_bytes())
    try:
        return unflatten(tree, read_tensors(folder / "tensors.safetensors"))
    except (SafetensorError, KeyError) as error:
        raise UsageError(f"{folder / 'tensors.safetensors'}: unreadable: {error}") from error


def _check(path: Path, expected: FileEntry) -> None:
    problem = damage(path, expected)
    if problem:
        raise UsageError(f"{path}: {problem}")


def _advice(folder: Path) -> str:
    """Which older checkpoint a run could go on from."""
    folders = _folders(folder.parent)
    older = [step for step, path in folders.items() if path.name < folder.name]
    if not older:
        return ""
    return f"; to go on from {folders[max(older)].name}, move {folder.name} away"
