"""Nested state <-> JSON plus one safetensors file; files are hashed as they are written, then synced.

Why not `safetensors.save_file`: it neither syncs, nor keeps the umask, nor takes tensors that are not
contiguous, and a channels-last optimiser state must come back channels-last (fused Adam reads raw memory).
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file as load_tensors
from torch import Tensor, uint8

_DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
}
Leaves = dict[str, "Tensor | NDArray[Any]"]


class FileEntry(NamedTuple):
    """What a manifest says about a file: its size in bytes and the sha256 of its contents."""

    size: int
    sha256: str


def flatten(tree: Any, leaves: Leaves, path: tuple[str, ...] = ()) -> Any:
    """The JSON form of a tree of dicts, lists, scalars, tensors and arrays; the latter two go to `leaves`.

    Tuples become lists and NumPy scalars plain ones. TypeError for anything else.
    """
    if isinstance(tree, Tensor | np.ndarray):
        return _leaf(tree, leaves, "/".join(path))
    if isinstance(tree, Mapping):
        return {_checked_key(key, path): flatten(value, leaves, (*path, key)) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [flatten(value, leaves, (*path, str(i))) for i, value in enumerate(tree)]
    scalar = tree.item() if isinstance(tree, np.generic) else tree
    if isinstance(scalar, float) and not math.isfinite(scalar):
        return {"$float": repr(scalar)}
    if scalar is None or isinstance(scalar, bool | int | float | str):
        return scalar
    raise TypeError(f"[checkpoint] expected plain data at {'/'.join(path)}, got {type(tree).__name__}")


def unflatten(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Inverse of `flatten`; tensors come back with their own memory order, on the CPU."""
    if isinstance(node, list):
        return [unflatten(value, tensors) for value in node]
    if not isinstance(node, dict):
        return node
    if "$float" in node:
        return float(node["$float"])
    if "$array" in node:
        return tensors[node["$array"]].numpy().copy()
    if "$tensor" in node:
        tensor = tensors[node["$tensor"]].clone()
        return tensor.permute(*np.argsort(node["order"]).tolist()) if "order" in node else tensor
    return {key: unflatten(value, tensors) for key, value in node.items()}


def write_tensors(path: Path, leaves: Mapping[str, "Tensor | NDArray[Any]"]) -> FileEntry:
    """Write a safetensors file straight from the arrays' memory, and sync it."""
    header: dict[str, Any] = {}
    chunks: list[memoryview] = []
    end = 0
    for name, leaf in leaves.items():
        dtype = _DTYPES.get(str(leaf.dtype).removeprefix("torch."))
        if dtype is None:
            raise TypeError(f"[checkpoint] expected a numeric array for {name}, got {leaf.dtype}")
        chunks.append(_memory(leaf))
        begin, end = end, end + chunks[-1].nbytes
        header[name] = {"dtype": dtype, "shape": list(_stored(leaf).shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return write_synced(path, [len(text).to_bytes(8, "little"), text, *chunks])


def write_json(path: Path, content: Any) -> FileEntry:
    """Write JSON, and sync it."""
    return write_synced(path, [json.dumps(content, indent=1, allow_nan=False).encode()])


def replace_text(path: Path, text: str) -> None:
    """Write a text file as a whole or not at all."""
    aside = path.with_name(f".tmp-{path.name}")
    write_synced(aside, [text.encode()])
    aside.replace(path)
    sync_folder(path.parent)


def write_synced(path: Path, chunks: Iterable[bytes | memoryview]) -> FileEntry:
    """Write the chunks and wait until they are on the disk."""
    digest = hashlib.sha256()
    size = 0
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk) if isinstance(chunk, bytes) else chunk.nbytes
        file.flush()
        os.fsync(file.fileno())
    return FileEntry(size, digest.hexdigest())


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def damage(path: Path, expected: FileEntry) -> str | None:
    """What is wrong with a file, in a few words; None when size and contents are as expected."""
    if path.is_symlink() or not path.is_file():
        return "the file is missing"
    size = path.stat().st_size
    if size != expected.size:
        return f"expected {expected.size} bytes, got {size}"
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != expected.sha256:
            return "the contents were altered (sha256 differs)"
    return None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU."""
    return load_tensors(path)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a safetensors file."""
    return load_arrays(path)


def _leaf(leaf: "Tensor | NDArray[Any]", leaves: Leaves, name: str) -> dict[str, Any]:
    if name in leaves:
        raise TypeError(f"[checkpoint] expected one entry named {name}, got two")
    leaves[name] = leaf
    if isinstance(leaf, np.ndarray):
        return {"$array": name}
    order = _memory_order(leaf)
    return {"$tensor": name} | ({"order": order} if order != sorted(order) else {})


def _checked_key(key: Any, path: Sequence[str]) -> str:
    if not isinstance(key, str) or key.startswith("$"):
        raise TypeError(f"[checkpoint] expected names without a leading $ in {'/'.join(path)}, got {key!r}")
    return key


def _memory_order(tensor: Tensor) -> list[int]:
    """Dimensions from the slowest to the fastest in memory; the plain order when memory has holes."""
    order = sorted(range(tensor.dim()), key=lambda d: tensor.stride()[d], reverse=True)
    return order if tensor.permute(order).is_contiguous() else list(range(tensor.dim()))


def _stored(leaf: "Tensor | NDArray[Any]") -> "Tensor | NDArray[Any]":
    return leaf.permute(_memory_order(leaf)) if isinstance(leaf, Tensor) else leaf


def _memory(leaf: "Tensor | NDArray[Any]") -> memoryview:
    """The leaf's bytes in the order they are stored in."""
    if isinstance(leaf, Tensor):
        flat = leaf.detach().cpu().permute(_memory_order(leaf)).contiguous().reshape(-1)
        return flat.view(uint8).numpy().data
    return np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data
