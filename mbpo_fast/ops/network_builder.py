"""Builds networks as lists of layers, the input of the fused rollout."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
KINDS = (
    *("frames", "means", "constant", "convolution", "linear", "norm", "activation", "concat", "clamp"),
    *("max_pool", "pool", "depth_to_space", "expectation"),
)
"""As `LayerKind` in csrc/rollout/network.h, which says what each of them computes."""
FIELDS = (
    *("kind", "input", "other", "condition", "channels", "kernel", "stride", "padding"),
    *("activation", "weight", "bias", "film", "option", "bf16"),
)
"""Columns of a layer table; `weight`, `bias` and `film` are offsets into a member's weights, -1 for none."""
POOLS = ("mean", "max", "logmeanexp", "magnitude")
NONE = -1
REFERENCES = ("input", "other", "condition", "weight", "bias", "film")


@dataclass(frozen=True)
class Film:
    """Scale and shift of every channel by the action, y * (1 + scale) + shift; both f32 [A, channels]."""

    scale: Floats
    shift: Floats


class NetworkBuilder:
    """The layers and weights of one network; each method adds a layer and returns its register.

    `context` frames [h, w] a row and one of `actions` actions are the input. Weights come in torch's layouts.
    `bf16` allows products of bfloat16, summed in float32, in all sums but those that are `exact`.
    ValueError, "[rollout] expected ..., got ...", where an array does not fit.
    """

    def __init__(
        self, context: int, frame_shape: tuple[int, int], actions: int, *, bf16: bool = False
    ) -> None:
        self.context, self.frame_shape, self.actions = context, frame_shape, actions
        self.bf16 = bf16
        self.shapes: list[tuple[int, int, int]] = []
        self._layers: list[list[int]] = []
        self._weights: list[Floats] = []
        self._size = 0

    def frames(
        self, count: int, *, cell: int = 1, scale: float = 1.0 / 255.0, difference_scale: float | None = None
    ) -> int:
        """The newest `count` frames in cells of cell x cell pixels, times `scale`.

        With `difference_scale`: that times the differences of neighbouring frames, then the newest frame.
        """
        height, width = (side // cell for side in self.frame_shape)
        scales = self._store(np.array([scale, difference_scale or 0.0], np.float32), "scales", (2,))
        shape = (height, width, count * cell * cell)
        option = int(difference_scale is not None)
        return self._add("frames", shape, channels=count, kernel=cell, weight=scales, option=option)

    def means(self, count: int, *, cell: int, steps: bool = False) -> int:
        """Mean gray levels of cells of cell x cell pixels in the newest `count` frames.

        `steps`: the `count - 1` differences of neighbouring frames' means instead.
        """
        height, width = (side // cell for side in self.frame_shape)
        channels = count - steps
        return self._add("means", (height, width, channels), kernel=cell, option=int(steps))

    def constant(self, values: Floats, *, cell: int) -> int:
        """The same map [C, h, w] for every row, over the cells of cell x cell pixels."""
        height, width = (side // cell for side in self.frame_shape)
        channels = _out_channels(values, 3)
        weights = self._store(values, "constant", (channels, height, width), (1, 2, 0))
        return self._add("constant", (height, width, channels), kernel=cell, weight=weights)

    def convolution(
        self,
        x: int,
        weight: Floats,
        bias: Floats,
        *,
        stride: int = 1,
        padding: int = 0,
        film: Film | None = None,
        condition: int = NONE,
        add: int = NONE,
        relu: bool = False,
        first: int = 0,
        exact: bool = False,
    ) -> int:
        """Weight [O, I, k, k] and bias [O]; then film, condition, the register `add`, the activation.

        `condition`: a register [1, 1, 2 O] of scales and shifts, y * (1 + scale) + shift.
        The input's channels before `first`, a multiple of 16, are left out.
        """
        height, width, channels = self.shape(x)
        channels -= first
        out, kernel = _out_channels(weight, 4), np.shape(weight)[-1]
        weights = self._store(weight, "weight", (out, channels, kernel, kernel), (0, 2, 3, 1))
        sides = ((side + 2 * padding - kernel) // stride + 1 for side in (height, width))
        return self._add(
            "convolution",
            (*sides, out),
            input=x,
            other=add,
            condition=condition,
            kernel=kernel,
            stride=stride,
            padding=padding,
            activation=int(relu),
            weight=weights,
            bias=self._store(bias, "bias", (out,)),
            film=self._film(film, out),
            option=first,
            bf16=int(self.bf16 and not exact),
        )

    def transposed_convolution(
        self, x: int, weight: Floats, bias: Floats, *, stride: int, relu: bool = False, cells: bool = False
    ) -> int:
        """Weight [I, O, k, k] with k a multiple of `stride`, no padding, bias [O].

        As a convolution that gives every pixel of a stride x stride cell a channel, then depth-to-space;
        `cells` leaves that out.
        """
        channels, out, kernel = self.shape(x)[2], _out_channels(weight, 4, 1), np.shape(weight)[-1]
        if np.shape(weight)[0] != channels or kernel % stride:
            refuse(f"a weight [{channels}, O, k, k] with k a multiple of {stride}", _describe(weight))
        taps = kernel // stride
        # [I, O, tap y, pixel y, tap x, pixel x], taps from the last to the first
        split = np.reshape(weight, (channels, out, taps, stride, taps, stride))[:, :, ::-1, :, ::-1]
        as_cells = np.ascontiguousarray(split.transpose(1, 3, 5, 0, 2, 4))
        y = self.convolution(
            x,
            as_cells.reshape(out * stride * stride, channels, taps, taps),
            np.repeat(bias, stride * stride),
            padding=taps - 1,
            relu=relu,
        )
        return y if cells or stride == 1 else self.depth_to_space(y, stride)

    def linear(
        self,
        x: int,
        weight: Floats,
        bias: Floats,
        *,
        film: Film | None = None,
        relu: bool = False,
        exact: bool = False,
    ) -> int:
        """Weight [O, I] on the map flattened as torch does, channel by channel; bias [O]."""
        height, width, channels = self.shape(x)
        out = _out_channels(weight, 2)
        _check("weight", weight, (out, height * width * channels))
        weights = self._store(
            np.reshape(weight, (out, channels, height, width)),
            "weight",
            (out, channels, height, width),
            (0, 2, 3, 1),
        )
        return self._add(
            "linear",
            (1, 1, out),
            input=x,
            activation=int(relu),
            weight=weights,
            bias=self._store(bias, "bias", (out,)),
            film=self._film(film, out),
            bf16=int(self.bf16 and not exact),
        )

    def norm(
        self,
        x: int,
        groups: int,
        weight: Floats,
        bias: Floats,
        *,
        film: Film | None = None,
        condition: int = NONE,
        relu: bool = False,
    ) -> int:
        """Group normalisation with weight [C] and bias [C], eps 1e-5; then film, condition, activation."""
        shape = self.shape(x)
        return self._add(
            "norm",
            shape,
            input=x,
            condition=condition,
            option=groups,
            activation=int(relu),
            weight=self._store(weight, "weight", (shape[2],)),
            bias=self._store(bias, "bias", (shape[2],)),
            film=self._film(film, shape[2]),
        )

    def relu(self, x: int) -> int:
        """max(x, 0)."""
        return self._add("activation", self.shape(x), input=x, activation=1)

    def add(self, x: int, other: int, *, relu: bool = False) -> int:
        """Sum of two maps of one shape; then the activation."""
        shape = self.shape(x)
        return self._add("activation", shape, input=x, other=other, activation=int(relu))

    def concat(self, x: int, other: int) -> int:
        """The channels of x, then those of `other`: maps of the same cells."""
        height, width, channels = self.shape(x)
        channels += self.shape(other)[2]
        return self._add("concat", (height, width, channels), input=x, other=other)

    def clamp(self, x: int, least: float, most: float) -> int:
        """min(max(x, least), most)."""
        shape = self.shape(x)
        bounds = self._store(np.array([least, most], np.float32), "bounds", (2,))
        return self._add("clamp", shape, input=x, weight=bounds)

    def max_pool(self, x: int, kernel: int, *, stride: int, padding: int = 0) -> int:
        """Maximum over windows of kernel x kernel cells; what lies outside counts for nothing."""
        height, width, channels = self.shape(x)
        sides = ((side + 2 * padding - kernel) // stride + 1 for side in (height, width))
        return self._add(
            "max_pool",
            (*sides, channels),
            input=x,
            kernel=kernel,
            stride=stride,
            padding=padding,
        )

    def pool(self, x: int, kind: str, *, bands: int = 1) -> int:
        """Over the cells, by channel: "mean", "max", "logmeanexp" or "magnitude", the mean of |x|.

        The map [h, w, C] is cut into `bands` of h / bands lines, each pooled alone: [bands * C], top first.
        """
        if kind not in POOLS:
            refuse(f"a pool of {', '.join(POOLS)}", repr(kind))
        height, _, channels = self.shape(x)
        if bands < 1 or height % bands:
            refuse(f"bands that divide {height} lines", str(bands))
        shape = (1, 1, bands * channels)
        return self._add("pool", shape, input=x, option=POOLS.index(kind), kernel=bands)

    def depth_to_space(self, x: int, block: int) -> int:
        """Channel c * block**2 + i becomes pixel i of a cell of channel c, as in `pixel_shuffle`."""
        height, width, channels = self.shape(x)
        shape = (height * block, width * block, channels // (block * block))
        return self._add("depth_to_space", shape, input=x, kernel=block)

    def expectation(self, x: int, atoms: Floats) -> int:
        """Logits [A * n], action by action, to values [A]: the mean of `atoms` [n] under a softmax."""
        count = len(atoms)
        out = self.shape(x)[2] // count
        weights = self._store(atoms, "atoms", (count,))
        return self._add("expectation", (1, 1, out), input=x, option=count, weight=weights)

    def table(self) -> npt.NDArray[np.int64]:
        """The layers: int64 [layers, 14], see FIELDS."""
        return np.array(self._layers, np.int64).reshape(-1, len(FIELDS))

    def weights(self) -> Floats:
        """All weights, one after the other."""
        return np.concatenate([np.zeros(0, np.float32), *(w.ravel() for w in self._weights)])

    def shape(self, x: int) -> tuple[int, int, int]:
        """Height, width and channels of a register."""
        if not 0 <= x < len(self.shapes):
            refuse(f"a register from 0 to {len(self.shapes) - 1}", str(x))
        return self.shapes[x]

    def _add(self, kind: str, shape: tuple[int, ...], **fields: int) -> int:
        row = dict.fromkeys(FIELDS, 0) | dict.fromkeys(REFERENCES, NONE)
        row |= {"kind": KINDS.index(kind), "channels": shape[2], "kernel": 1, "stride": 1} | fields
        self._layers.append([int(row[field]) for field in FIELDS])
        height, width, channels = shape
        self.shapes.append((height, width, channels))
        return len(self.shapes) - 1

    def _film(self, film: Film | None, channels: int) -> int:
        if film is None:
            return NONE
        at = self._store(film.scale, "film", (self.actions, channels))
        self._store(film.shift, "film", (self.actions, channels))
        return at

    def _store(
        self, array: Floats, what: str, shape: tuple[int, ...], order: tuple[int, ...] | None = None
    ) -> int:
        _check(what, array, shape)
        at = self._size
        self._weights.append(array if order is None else array.transpose(order))
        self._size += array.size
        return at


def _out_channels(weight: Any, dimensions: int, axis: int = 0) -> int:
    if not isinstance(weight, np.ndarray) or weight.ndim != dimensions:
        refuse(f"a weight of {dimensions} dimensions", _describe(weight))
    return int(weight.shape[axis])


def _check(what: str, array: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.shape != shape:
        refuse(f"{what} float32 {list(shape)}", _describe(array))


def _describe(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__


def refuse(expected: str, got: str) -> None:
    """The error of everything that does not fit."""
    raise ValueError(f"[rollout] expected {expected}, got {got}")
