"""Layer lists beside their NumPy spec, on every instruction set; no torch here, for the sanitizers."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mbpo_fast import _core
from mbpo_fast.ops.network import PackedNetwork
from mbpo_fast.ops.network_builder import FIELDS, KINDS, NONE, POOLS, Film, NetworkBuilder
from mbpo_fast.ops.reference_network import run_network

ACTIONS = 3
Network = tuple[NetworkBuilder, list[int]]


@pytest.fixture(scope="module", params=["baseline", "avx2", "avx512"], autouse=True)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param not in _core.isas():
        pytest.skip(f"this machine has no {request.param}")
    before = _core.isa()
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(before)


class Maker:
    """Builds layers with random weights."""

    def __init__(self, seed: int, context: int = 5, frame: tuple[int, int] = (20, 28)) -> None:
        self.rng = np.random.default_rng(seed)
        self.net = NetworkBuilder(context, frame, ACTIONS)

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return self.rng.normal(0, scale, shape).astype(np.float32)

    def film(self, channels: int) -> Film:
        return Film(self.normal(ACTIONS, channels), self.normal(ACTIONS, channels))

    def conv(self, x: int, out: int, kernel: int, **settings: object) -> int:
        channels = self.net.shapes[x][2]
        weight = self.normal(out, channels, kernel, kernel, scale=(channels * kernel * kernel) ** -0.5)
        return self.net.convolution(x, weight, self.normal(out), **settings)

    def linear(self, x: int, out: int, **settings: object) -> int:
        size = int(np.prod(self.net.shapes[x]))
        return self.net.linear(x, self.normal(out, size, scale=size**-0.5), self.normal(out), **settings)

    def norm(self, x: int, groups: int, **settings: object) -> int:
        channels = self.net.shapes[x][2]
        return self.net.norm(x, groups, self.normal(channels), self.normal(channels), **settings)


def frames_raw(m: Maker) -> list[int]:
    return [m.net.frames(3), m.net.frames(5, cell=2), m.net.frames(1, cell=4), m.net.frames(4, cell=4)]


def frames_differences(m: Maker) -> list[int]:
    return [m.net.frames(5, cell=4, scale=0.01, difference_scale=0.02), m.net.frames(1, difference_scale=1.0)]


def streamed(m: Maker) -> list[int]:
    """Cells that one 1x1 convolution reads, and cells that something else reads too."""
    y = m.conv(m.net.frames(5, cell=4, scale=0.01, difference_scale=0.02), 24, 1, film=m.film(24))
    cells = m.net.frames(3, cell=2, scale=0.02)
    weight = m.normal(7, 12, 1, 1, scale=0.1)
    outs = [y, m.conv(m.net.frames(2, cell=4), 24, 1, add=y, relu=True), m.conv(cells, 9, 1)]
    return [
        *outs,
        m.net.convolution(cells, weight, m.normal(7)),
        m.conv(m.net.frames(4, cell=4), 8, 1, padding=1),
    ]


def convolutions(m: Maker) -> list[int]:
    x = m.net.frames(4, cell=2)
    outs = [x]
    wide = m.conv(x, 40, 1)
    for kernel, stride in [(3, 1), (3, 2), (1, 1)]:
        weight = m.normal(6, 40 - 16, kernel, kernel, scale=0.1)
        outs.append(m.net.convolution(wide, weight, m.normal(6), stride=stride, padding=1, first=16))
    for out, kernel, settings in [
        (16, 1, {}),
        (5, 2, {"relu": True}),
        (33, 3, {"padding": 1}),
        (32, 3, {"padding": 2, "relu": True}),
        (48, 4, {"stride": 2, "padding": 1}),
        (7, 5, {"stride": 3, "film": m.film(7)}),
        (64, 3, {"stride": 2, "padding": 1, "film": m.film(64), "relu": True}),
    ]:
        outs.append(m.conv(x, out, kernel, **settings))
    return outs


def residual_blocks(m: Maker) -> list[int]:
    x = m.conv(m.net.frames(5, cell=4, difference_scale=0.1), 32, 1)
    first = x
    for _ in range(2):
        h = m.conv(m.net.relu(x), 32, 3, padding=1, film=m.film(32), relu=True)
        x = m.conv(h, 32, 3, padding=1, add=x)
    return [first, x, m.conv(x, 20, 3, padding=1, film=m.film(20), add=m.conv(x, 20, 1), relu=True)]


def winograd_borders(m: Maker) -> list[int]:
    x = m.conv(m.net.frames(2), 16, 1)  # 20x28: tiles reach past the end of both sides
    return [m.conv(x, 16, 3), m.conv(x, 17, 3, padding=1), m.conv(x, 40, 3, padding=3)]


def norms(m: Maker) -> list[int]:
    x = m.conv(m.net.frames(4, cell=4), 24, 3, padding=1)
    return [
        m.norm(x, 4, film=m.film(24), relu=True),
        m.norm(x, 1),
        m.norm(m.net.frames(3), 3),
        m.norm(x, 24, relu=True),
    ]


def pools(m: Maker) -> list[int]:
    x = m.conv(m.net.frames(4, cell=4), 4, 1)
    wide = m.conv(x, 50, 1)
    return [m.net.pool(map_, kind) for map_ in (x, wide) for kind in POOLS]


def means(m: Maker) -> list[int]:
    steps = m.net.means(5, cell=4, steps=True)
    odd = m.net.means(1, cell=2)
    clock = m.net.clamp(m.net.pool(steps, "magnitude"), -1.0, 5.0)
    return [m.net.means(3, cell=4), m.net.means(2, cell=1), odd, steps, clock, m.conv(steps, 8, 3, padding=1)]


def conditions(m: Maker) -> list[int]:
    """A clock steers blocks, as in the default world model; linear layers small and large."""
    steps = m.net.means(5, cell=4, steps=True)
    clock = m.net.clamp(m.net.pool(steps, "magnitude"), 0.0, 60.0)
    shift_alone = Film(np.zeros((ACTIONS, 20), np.float32), m.normal(ACTIONS, 20))
    hidden = m.linear(clock, 20, film=shift_alone, relu=True)
    place = m.net.constant(m.normal(24, 5, 7), cell=4)
    x = m.conv(steps, 24, 1, add=place)
    by_all = [m.linear(hidden, 48, film=m.film(48)) for _ in range(3)]
    outs = [hidden, m.conv(x, 24, 3, padding=1, condition=by_all[0], film=m.film(24), relu=True)]
    outs.append(m.conv(x, 24, 1, condition=by_all[1], add=place))
    outs.append(m.norm(x, 4, condition=by_all[2], film=m.film(24), relu=True))
    large = m.linear(m.linear(x, 300, relu=True), 48)
    return [*outs, m.conv(x, 24, 3, condition=large), m.norm(x, 3, condition=large), place]


def joins(m: Maker) -> list[int]:
    x, y = m.conv(m.net.frames(4, cell=4), 19, 1), m.conv(m.net.frames(2, cell=4), 24, 1)
    both = m.net.concat(x, y)
    place = m.net.constant(m.normal(24, 5, 7), cell=4)
    sums = [m.net.add(y, place), m.net.add(place, y, relu=True), m.net.add(place, place)]
    vectors = m.net.concat(m.net.pool(x, "mean"), m.net.pool(y, "max"))
    return [both, m.conv(both, 16, 3, padding=1), *sums, vectors, m.linear(vectors, 7), m.net.concat(x, x)]


def max_pools(m: Maker) -> list[int]:
    x = m.conv(m.net.frames(4), 16, 3, padding=1)
    narrow = m.net.frames(2)
    outs = [m.net.max_pool(x, 3, stride=2, padding=1), m.net.max_pool(narrow, 2, stride=2)]
    return [*outs, m.net.max_pool(narrow, 5, stride=3, padding=4), m.conv(outs[0], 16, 3, padding=1)]


def heads(m: Maker) -> list[int]:
    flat = m.linear(m.conv(m.net.frames(4), 32, 8, stride=4, relu=True), 50, relu=True)
    with_action = m.linear(flat, 40, film=m.film(40), relu=True)
    atoms = m.net.expectation(m.linear(with_action, ACTIONS * 11), np.linspace(-3, 3, 11, dtype=np.float32))
    return [flat, with_action, m.linear(with_action, ACTIONS), atoms]


def decoder(m: Maker) -> list[int]:
    x = m.net.depth_to_space(m.linear(m.linear(m.net.frames(2), 20), 32 * 9), 3)
    y = m.net.transposed_convolution(x, m.normal(32, 16, 3, 3, scale=0.1), m.normal(16), stride=1, relu=True)
    y = m.net.transposed_convolution(y, m.normal(16, 8, 4, 4, scale=0.1), m.normal(8), stride=2, relu=True)
    return [x, y, m.net.transposed_convolution(y, m.normal(8, 1, 8, 8), m.normal(1), stride=4, cells=True)]


def late_branch(m: Maker) -> list[int]:
    """A convolution after a linear layer that also reads what came before it."""
    early = m.conv(m.net.frames(4, cell=4), 16, 3, padding=1)
    m.linear(early, 12)
    return [m.conv(early, 16, 3, padding=1, add=early), early]


NETWORKS = [
    frames_raw,
    frames_differences,
    streamed,
    convolutions,
    residual_blocks,
    winograd_borders,
    norms,
    pools,
    means,
    conditions,
    joins,
    max_pools,
    heads,
    decoder,
    late_branch,
]


def batch(rows: int, members: int, context: int = 5, frame: tuple[int, int] = (20, 28)) -> tuple:
    rng = np.random.default_rng(rows)
    return (
        rng.integers(0, 256, (rows, context, *frame), np.uint8),
        rng.integers(0, ACTIONS, rows),
        rng.integers(0, members, rows),
    )


@pytest.mark.parametrize("layers", NETWORKS, ids=lambda layers: layers.__name__)
@pytest.mark.parametrize(("rows", "members"), [(1, 1), (7, 2), (19, 5)])
def test_layers_equal_their_spec(layers: Callable, rows: int, members: int) -> None:
    makers = [Maker(seed) for seed in range(members)]
    outputs = [layers(maker) for maker in makers][-1]
    packed = PackedNetwork([maker.net for maker in makers], outputs)
    context, action, member = batch(rows, members)
    ours = packed(context, action, member, _core.ThreadPool(2))
    for m, maker in enumerate(makers):
        drawn = member == m
        if not drawn.any():
            continue
        table, weights = maker.net.table(), maker.net.weights()
        spec = run_network(table, weights, context[drawn], action[drawn], ACTIONS)
        for register, values in zip(outputs, ours, strict=True):
            expected = spec[register]
            # Sums of some hundred float32 products, through a few layers; Winograd costs two bits.
            bound = 2e-5 * np.abs(expected).max() + 1e-6
            assert np.abs(values[drawn] - expected).max() <= bound


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_batches_change_no_bit(threads: int) -> None:
    maker = Maker(0)
    packed = PackedNetwork([maker.net], heads(maker) + residual_blocks(maker) + conditions(maker))
    rows = batch(150, 1)
    whole = packed(*rows, _core.ThreadPool(threads))
    for i in (0, 77, 149):
        single = packed(*(x[i : i + 1] for x in rows))
        assert all(np.array_equal(a[i], b[0]) for a, b in zip(whole, single, strict=True))


def test_multiplications_are_counted() -> None:
    maker = Maker(0)
    x = maker.conv(maker.net.frames(2, cell=4), 10, 3)
    packed = PackedNetwork([maker.net], [maker.linear(x, 6)])
    assert packed.multiplications == 3 * 5 * 10 * 9 * 32 + 6 * 3 * 5 * 10


def small() -> NetworkBuilder:
    maker = Maker(0)
    maker.conv(maker.net.frames(2, cell=4), 10, 3)
    return maker.net


def core_network(**changes: object) -> _core.Network:
    """`small` with some fields of its convolution changed, `kind` by name or number."""
    table = small().table()
    for name, value in changes.items():
        table[1, FIELDS.index(name)] = KINDS.index(value) if value in KINDS else value
    return _core.Network(table, small().weights()[None], 5, 20, 28, ACTIONS, np.array([1]))


OF_FRAMES = {"input": NONE, "channels": 5, "kernel": 4}

BAD_TABLES = [
    ({"kind": 13}, r"layer 1 with a kind from 0 to 12, got 13"),
    ({"kind": -1}, r"a kind from 0 to 12, got -1"),
    ({"input": 1}, r"the register of an earlier layer as input, got 1"),
    ({"input": -1}, r"an earlier layer as input, got -1"),
    ({"other": 1}, r"an earlier layer, or -1, to add, got 1"),
    ({"other": 0}, r"that adds a map \[3,5,10\], got \[5,7,32\]"),
    ({"condition": 1}, r"an earlier layer, or -1, as condition, got 1"),
    ({"condition": 0}, r"a condition \[1,1,20\], got \[5,7,32\]"),
    ({"channels": 0}, r"1 to 2\*\*20 channels, got 0"),
    ({"kernel": 6}, r"a kernel inside its input, got 6 on \[5,7,32\] padded by 0"),
    ({"stride": 0}, r"stride >= 1"),
    ({"option": 8}, r"skips a multiple of 16 below 32 channels, got 8"),
    ({"option": 32}, r"skips a multiple of 16 below 32 channels, got 32"),
    ({"padding": -1}, r"0 <= padding <= kernel, got 3, 1, -1"),
    ({"padding": 4}, r"0 <= padding <= kernel, got 3, 1, 4"),
    ({"activation": 2}, r"activation 0 \(none\) or 1 \(relu\), got 2"),
    ({"weight": 100}, r"layer 1's weight within 2892 weights, got offset 100"),
    ({"weight": -1}, r"layer 1's weight within"),
    ({"bias": 2**62}, r"layer 1's bias within"),
    ({"film": 2880}, r"layer 1's film within"),
    ({"kind": "norm", "channels": 32, "option": 5}, r"groups that divide 32 channels, got 5"),
    ({"kind": "pool", "option": 4, "channels": 32}, r"an option from 0 to 3, got 4"),
    ({"kind": "pool", "activation": 1, "channels": 32}, r"no activation, got 1"),
    ({"kind": "pool", "other": 0, "channels": 32}, r"nothing to add, got 0"),
    ({"kind": "pool", "condition": 0, "channels": 32}, r"no condition, got 0"),
    ({"kind": "pool", "film": 0, "channels": 32}, r"no film, got 0"),
    ({"kind": "depth_to_space", "kernel": 5, "channels": 1}, r"a multiple of 25 channels, got 32"),
    ({"kind": "expectation", "option": 4}, r"\[1,1,10 \* 4\], got \[5,7,32\]"),
    ({"kind": "activation"}, r"with 32 channels, got 10"),
    ({"kind": "concat"}, r"an earlier layer to append, got -1"),
    ({"kind": "concat", "other": 0}, r"with 64 channels, got 10"),
    ({"kind": "clamp", "channels": 32, "weight": 2891}, r"2 numbers of layer 1's weight within"),
    ({"kind": "max_pool", "channels": 32, "padding": 3}, r"padding < kernel, got 3"),
    ({"kind": "max_pool", "channels": 32, "kernel": 6}, r"a kernel inside its input, got 6"),
    ({"kind": "means"}, r"input -1, got 0"),
    ({"kind": "means", **OF_FRAMES, "option": 1}, r"of at most 5 frames, got 6"),
    ({"kind": "means", **OF_FRAMES, "option": 2}, r"option 0 or 1, got 2"),
    ({"kind": "means", **OF_FRAMES, "kernel": 3}, r"cells that tile 20x28, got 3"),
    ({"kind": "constant", **OF_FRAMES, "option": 1}, r"option 0, got 1"),
    ({"kind": "constant", **OF_FRAMES, "channels": 90}, r"3150 numbers of layer 1's weight within"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_TABLES)
def test_bad_tables(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=r"\[rollout\] expected .*" + message):
        core_network(**changes)


def nan_weights() -> np.ndarray:
    weights = small().weights()[None]
    weights[0, 7] = np.nan
    return weights


BAD_NETWORKS = [
    (
        lambda: _core.Network(small().table(), nan_weights(), 5, 20, 28, 3, np.array([1])),
        "finite weights, got nan",
    ),
    (
        lambda: _core.Network(small().table(), small().weights()[None][:0], 5, 20, 28, 3, np.array([1])),
        "1 to 1024 members, got 0",
    ),
    (
        lambda: _core.Network(small().table(), small().weights(), 5, 20, 28, 3, np.array([1])),
        r"weights .*\[any,any\]",
    ),
    (
        lambda: _core.Network(small().table()[:, ::2], small().weights()[None], 5, 20, 28, 3, np.array([1])),
        r"layers .*not contiguous",
    ),
    (
        lambda: _core.Network(
            small().table(), small().weights()[None].astype(np.float64), 5, 20, 28, 3, np.array([1])
        ),
        r"weights as a contiguous float32 .*got float64",
    ),
    (
        lambda: _core.Network(small().table(), small().weights()[None], 5, 20, 30, 3, np.array([1])),
        "cells that tile 20x30, got 4",
    ),
    (
        lambda: _core.Network(small().table(), small().weights()[None], 1, 20, 28, 3, np.array([1])),
        "at most 1 frames, got 2",
    ),
    (
        lambda: _core.Network(small().table(), small().weights()[None], 5, 20, 28, 3, np.array([2])),
        "the registers 0 to 1, got 2",
    ),
    (
        lambda: _core.Network(small().table(), small().weights()[None], 5, 20, 28, 3, np.zeros(0, np.int64)),
        "at least one output, got 0",
    ),
    (
        lambda: _core.Network(
            np.zeros((0, len(FIELDS)), np.int64), small().weights()[None], 5, 20, 28, 3, np.array([0])
        ),
        "at least one layer, got 0",
    ),
    (lambda: PackedNetwork([], [0]), "at least one member, got none"),
    (lambda: PackedNetwork([small(), Maker(0).net], [0]), "members of one architecture"),
    (
        lambda: small().linear(0, np.zeros((3, 4), np.float32), np.zeros(3, np.float32)),
        r"weight float32 \[3, 1120\]",
    ),
    (lambda: small().relu(2), "a register from 0 to 1, got 2"),
    (lambda: small().pool(0, "median"), "a pool of mean, max, logmeanexp, magnitude, got 'median'"),
    (
        lambda: small().convolution(0, np.zeros((3, 32, 3, 3)), np.zeros(3, np.float32)),
        r"weight float32 \[3, 32, 3, 3\], got float64",
    ),
    (lambda: small().convolution(0, [1.0], np.zeros(3, np.float32)), "a weight of 4 dimensions, got list"),
]


@pytest.mark.parametrize(("call", "message"), BAD_NETWORKS)
def test_bad_networks(call: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=r"\[rollout\] expected .*" + message):
        call()


def test_bad_rows() -> None:
    packed = PackedNetwork([small()], [1])
    context, action, member = batch(3, 1)
    for rows, message in [
        ((context[:, :4], action, member), r"context .*\[any,5,20,28\], got uint8 \[3,4,20,28\]"),
        ((context.astype(np.float32), action, member), "contiguous uint8 .*got float32"),
        ((context, action[:2], member), r"action .*\[3\], got int64 \[2\]"),
        ((context, action + 3, member), r"actions in \[0, 3\)"),
        ((context, action, member + 1), r"members in \[0, 1\), got 1"),
        ((context, action, member - 1), r"members in \[0, 1\), got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            packed(*rows)


def test_no_rows_give_no_values() -> None:
    assert PackedNetwork([small()], [1])(*batch(0, 1))[0].shape == (0, 3, 5, 10)
