"""The slow readable spec of a layer list (csrc/rollout/network.h), in float64."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from mbpo_fast.ops.network_builder import FIELDS, KINDS, NONE

Doubles = npt.NDArray[np.float64]


def run_network(
    table: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
    context: npt.NDArray[np.uint8],
    action: npt.NDArray[np.int64],
    actions: int,
) -> list[Doubles]:
    """Every register [B, h, w, c] of one member on context u8 [B, C, h, w] and action i64 [B] < `actions`."""
    registers: list[Doubles] = []
    numbers = weights.astype(np.float64)
    for row in table:
        layer = dict(zip(FIELDS, (int(value) for value in row), strict=True))
        kind = KINDS[layer["kind"]]
        x = registers[layer["input"]] if layer["input"] != NONE else context.astype(np.float64)
        if kind == "concat":
            x = np.concatenate([x, registers[layer["other"]]], axis=-1)
        y = _LAYERS[kind](layer, numbers, x)
        y = _with_film(layer, numbers, y, action, actions) if layer["film"] != NONE else y
        if layer["condition"] != NONE:
            scale, shift = np.split(registers[layer["condition"]], 2, axis=-1)
            y = y * (1.0 + scale) + shift
        if layer["other"] != NONE and kind != "concat":
            y = y + registers[layer["other"]]
        registers.append(np.maximum(y, 0.0) if layer["activation"] else y)
    return registers


def _with_film(layer: dict[str, int], weights: Any, y: Doubles, action: Any, actions: int) -> Doubles:
    channels, start = y.shape[-1], layer["film"]
    tables = weights[start : start + 2 * actions * channels].reshape(2, actions, channels)
    scale, shift = (t[action][:, None, None, :] for t in tables)
    filmed: Doubles = y * (1.0 + scale) + shift
    return filmed


def _frames(layer: dict[str, int], weights: Doubles, x: Doubles) -> Doubles:
    scale, difference = weights[layer["weight"] : layer["weight"] + 2]
    x = x[:, -layer["channels"] :]
    x = (
        np.concatenate([difference * np.diff(x, axis=1), scale * x[:, -1:]], 1)
        if layer["option"]
        else scale * x
    )
    cell = layer["kernel"]
    batch, frames, height, width = x.shape
    cells = x.reshape(batch, frames, height // cell, cell, width // cell, cell).transpose(0, 2, 4, 1, 3, 5)
    return cells.reshape(batch, height // cell, width // cell, -1)


def _means(layer: dict[str, int], _: Doubles, x: Doubles) -> Doubles:
    x, cell = x[:, -(layer["channels"] + layer["option"]) :], layer["kernel"]
    batch, frames, height, width = x.shape
    means = x.reshape(batch, frames, height // cell, cell, width // cell, cell).mean(axis=(3, 5))
    return np.moveaxis(np.diff(means, axis=1) if layer["option"] else means, 1, -1)


def _constant(layer: dict[str, int], weights: Doubles, x: Doubles) -> Doubles:
    shape = (x.shape[2] // layer["kernel"], x.shape[3] // layer["kernel"], layer["channels"])
    values = weights[layer["weight"] :][: np.prod(shape)].reshape(shape)
    return np.broadcast_to(values, (len(x), *shape))


def _convolution(layer: dict[str, int], weights: Doubles, x: Doubles) -> Doubles:
    out, k, pad = layer["channels"], layer["kernel"], layer["padding"]
    x = x[..., layer["option"] :]
    shape = (out, k, k, x.shape[-1])
    weight = weights[layer["weight"] :][: np.prod(shape)].reshape(shape)
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = sliding_window_view(padded, (k, k), axis=(1, 2))[:, :: layer["stride"], :: layer["stride"]]
    total: Doubles = np.einsum("byxcij,oijc->byxo", windows, weight, optimize=True)
    return total + weights[layer["bias"] : layer["bias"] + out]


def _linear(layer: dict[str, int], weights: Doubles, x: Doubles) -> Doubles:
    out, flat = layer["channels"], x.reshape(len(x), -1)
    weight = weights[layer["weight"] :][: out * flat.shape[1]].reshape(out, -1)
    y: Doubles = flat @ weight.T + weights[layer["bias"] : layer["bias"] + out]
    return y[:, None, None]


def _norm(layer: dict[str, int], weights: Doubles, x: Doubles) -> Doubles:
    grouped = x.reshape(*x.shape[:3], layer["option"], -1)
    centred = grouped - grouped.mean(axis=(1, 2, 4), keepdims=True)
    scaled = centred / np.sqrt(centred.var(axis=(1, 2, 4), keepdims=True) + 1e-5)
    gain, bias = (weights[layer[name] : layer[name] + x.shape[-1]] for name in ("weight", "bias"))
    normalised: Doubles = scaled.reshape(x.shape) * gain + bias
    return normalised


def _clamp(layer: dict[str, int], weights: Doubles, x: Doubles) -> Doubles:
    return x.clip(*weights[layer["weight"] : layer["weight"] + 2])


def _max_pool(layer: dict[str, int], _: Doubles, x: Doubles) -> Doubles:
    k, pad = layer["kernel"], layer["padding"]
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=-np.inf)
    windows = sliding_window_view(padded, (k, k), axis=(1, 2))[:, :: layer["stride"], :: layer["stride"]]
    most: Doubles = windows.max(axis=(-2, -1))
    return most


def _pool(layer: dict[str, int], _: Doubles, x: Doubles) -> Doubles:
    batch, _, _, channels = x.shape
    bands = x.reshape(batch, layer["kernel"], -1, channels)
    most = bands.max(axis=2, keepdims=True)
    soft = most + np.log(np.exp(bands - most).mean(axis=2, keepdims=True))
    mean, magnitude = (y.mean(axis=2, keepdims=True) for y in (bands, np.abs(bands)))
    pooled: Doubles = (mean, most, soft, magnitude)[layer["option"]].reshape(batch, 1, 1, -1)
    return pooled


def _depth_to_space(layer: dict[str, int], _: Doubles, x: Doubles) -> Doubles:
    batch, height, width, channels = x.shape
    k = layer["kernel"]
    cells = x.reshape(batch, height, width, channels // k**2, k, k).transpose(0, 1, 4, 2, 5, 3)
    return cells.reshape(batch, height * k, width * k, -1)


def _expectation(layer: dict[str, int], weights: Doubles, x: Doubles) -> Doubles:
    atoms = weights[layer["weight"] : layer["weight"] + layer["option"]]
    logits = x.reshape(*x.shape[:3], layer["channels"], -1)
    mass = np.exp(logits - logits.max(axis=-1, keepdims=True))
    mean: Doubles = (mass * atoms).sum(axis=-1) / mass.sum(axis=-1)
    return mean


_LAYERS = {
    "frames": _frames,
    "means": _means,
    "constant": _constant,
    "convolution": _convolution,
    "linear": _linear,
    "norm": _norm,
    "activation": lambda *arguments: arguments[-1],
    "concat": lambda *arguments: arguments[-1],
    "clamp": _clamp,
    "max_pool": _max_pool,
    "pool": _pool,
    "depth_to_space": _depth_to_space,
    "expectation": _expectation,
}
