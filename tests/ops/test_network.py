"""Layer lists beside their NumPy spec, on every instruction set; no torch here, for the sanitizers."""

from collections.abc import Callable

import numpy as np
import pytest
from layer_lists import ACTIONS, NETWORKS, Maker, batch, conditions, heads, residual_blocks

from mbpo_fast import _core
from mbpo_fast.ops.network import PackedNetwork
from mbpo_fast.ops.network_builder import FIELDS, KINDS, NONE, NetworkBuilder
from mbpo_fast.ops.reference_network import run_network

pytestmark = pytest.mark.usefixtures("isa")


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


def test_frames_that_are_also_a_condition() -> None:
    maker = Maker(0, context=2, frame=(4, 4))
    frames = maker.net.frames(1, cell=4, scale=0.01)
    y = maker.conv(frames, 8, 1, condition=frames)
    context, action, member = batch(5, 1, context=2, frame=(4, 4))
    (ours,) = PackedNetwork([maker.net], [y])(context, action, member)
    spec = run_network(maker.net.table(), maker.net.weights(), context, action, ACTIONS)[y]
    assert np.abs(ours - spec).max() <= 2e-5 * np.abs(spec).max()


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
    ({"bf16": 2}, r"layer 1 with bf16 0, or 1 for a sum, got 2"),
    ({"kind": "norm", "channels": 32, "bf16": 1}, r"bf16 0, or 1 for a sum, got 1"),
    ({"padding": -1}, r"0 <= padding <= kernel, got 3, 1, -1"),
    ({"padding": 4}, r"0 <= padding <= kernel, got 3, 1, 4"),
    ({"activation": 2}, r"activation 0 \(none\) or 1 \(relu\), got 2"),
    ({"weight": 100}, r"layer 1's weight within 2892 weights, got offset 100"),
    ({"weight": -1}, r"layer 1's weight within"),
    ({"bias": 2**62}, r"layer 1's bias within"),
    ({"film": 2880}, r"layer 1's film within"),
    ({"kind": "activation", "channels": 32}, r"0 numbers of layer 1's weight .*got offset 2"),
    ({"kind": "activation", "channels": 32, "weight": -1, "bias": 10**11}, r"0 numbers of layer 1's bias"),
    ({"kind": "norm", "channels": 32, "option": 5}, r"groups that divide 32 channels, got 5"),
    ({"kind": "pool", "option": 4, "channels": 32}, r"an option from 0 to 3, got 4"),
    ({"kind": "pool", "channels": 32}, r"bands that divide 5 lines, got 3"),
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
    (lambda: small().pool(0, "mean", bands=3), "bands that divide 5 lines, got 3"),
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
