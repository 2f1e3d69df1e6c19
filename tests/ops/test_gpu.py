"""Layer lists on a GPU, and in its emulation, beside their NumPy spec; no torch here, for the sanitizers."""

from collections.abc import Callable

import numpy as np
import pytest
from gpu_devices import EVERY_DEVICE, ONE_DEVICE
from layer_lists import ACTIONS, NETWORKS, Maker, batch

from mbpo_fast.ops.gpu import GpuNetwork
from mbpo_fast.ops.gpu_device import Device
from mbpo_fast.ops.network import PackedNetwork
from mbpo_fast.ops.reference_network import run_network

# bfloat16 rounds to 2**-9 of a number, once a layer for maps and for weights.
BF16 = 1e-2


def check(makers: list[Maker], outputs: list[int], device: Device, rows: int) -> None:
    network = GpuNetwork(PackedNetwork([maker.net for maker in makers], outputs), device)
    context, action, member = batch(rows, len(makers))
    ours = network(context, action, member)
    for m, maker in enumerate(makers):
        drawn = member == m
        if not drawn.any():
            continue
        spec = run_network(maker.net.table(), maker.net.weights(), context[drawn], action[drawn], ACTIONS)
        for register, values in zip(outputs, ours, strict=True):
            apart = np.linalg.norm(values[drawn] - spec[register])
            assert apart <= BF16 * np.linalg.norm(spec[register]), register


@EVERY_DEVICE
@pytest.mark.parametrize("layers", NETWORKS, ids=lambda layers: layers.__name__)
@pytest.mark.parametrize(("rows", "members"), [(1, 1), (7, 2), (19, 5)])
def test_layers_equal_their_spec(layers: Callable, rows: int, members: int, device: Device) -> None:
    makers = [Maker(seed) for seed in range(members)]
    check(makers, [layers(maker) for maker in makers][-1], device, rows)


def large_linear_layers(maker: Maker) -> list[int]:
    x = maker.conv(maker.net.frames(4, cell=4), 33, 3, relu=True)  # 3 * 5 * 33 numbers: no multiple of 16
    wide = maker.linear(x, 130, film=maker.film(130), relu=True)
    return [
        wide,
        maker.linear(wide, 129),
        maker.conv(maker.net.constant(maker.normal(16, 5, 7), cell=4), 4, 1),
    ]


@EVERY_DEVICE
@pytest.mark.parametrize(("rows", "members"), [(64, 1), (65, 1), (150, 2), (3, 7)])
def test_tiles_of_rows(rows: int, members: int, device: Device) -> None:
    makers = [Maker(seed) for seed in range(members)]
    check(makers, [large_linear_layers(maker) for maker in makers][-1], device, rows)


@EVERY_DEVICE
def test_depths_beyond_one_slab(device: Device) -> None:
    maker = Maker(0)
    check([maker], [maker.linear(maker.net.frames(4), 40)], device, 5)


@ONE_DEVICE
def test_pixels_lose_nothing(device: Device) -> None:
    """Weights of pixels have 16 bits, pixels and their steps are exact: nearly equal frames do not drown."""
    maker = Maker(0, context=3)
    steps = maker.conv(maker.net.frames(3, cell=4, scale=0.01, difference_scale=0.02), 24, 1)
    raw = maker.conv(maker.net.frames(3, cell=4), 24, 3, padding=1)
    network = GpuNetwork(PackedNetwork([maker.net], [steps, raw]), device)
    context, action, member = batch(3, 1, context=3)
    spec = run_network(maker.net.table(), maker.net.weights(), context, action, ACTIONS)
    for register, values in zip([steps, raw], network(context, action, member), strict=True):
        assert np.abs(values - spec[register]).max() < 3e-5 * np.abs(spec[register]).max()


@ONE_DEVICE
def test_the_newest_steps_survive_a_sum_in_parts(device: Device) -> None:
    """Four raw frames of 84x84 do not fit at once, and a convolution reads their sum in bfloat16."""
    maker = Maker(0, context=4, frame=(84, 84))
    cells = maker.net.frames(4, cell=4)
    weight = np.zeros((8, 64, 2, 2), np.float32)
    weight[:, 48:] = maker.normal(8, 16, 2, 2, scale=0.001)
    weight[:, 32:48] = -weight[:, 48:]
    x = maker.net.convolution(cells, weight, np.zeros(8, np.float32))
    y = maker.net.convolution(x, np.eye(8, dtype=np.float32)[:, :, None, None], np.zeros(8, np.float32))
    context, action, member = batch(1, 1, context=4, frame=(84, 84))
    context[:, 3] = context[:, 2]
    context[:, 3, 40:48, 40:48] = np.minimum(context[:, 2, 40:48, 40:48], 252) + 3
    (ours,) = GpuNetwork(PackedNetwork([maker.net], [y]), device)(context, action, member)
    spec = run_network(maker.net.table(), maker.net.weights(), context, action, ACTIONS)[y]
    assert np.abs(ours - spec).max() < 0.01 * np.abs(spec).max()


@ONE_DEVICE
def test_neighbours_change_no_bit(device: Device) -> None:
    makers = [Maker(seed) for seed in range(3)]
    outputs = [large_linear_layers(maker) for maker in makers][-1]
    network = GpuNetwork(PackedNetwork([maker.net for maker in makers], outputs), device)
    rows = batch(80, 3)
    together = network(*rows)
    for i in (0, 41, 79):
        alone = network(*(x[i : i + 1] for x in rows))
        assert all(np.array_equal(a[i], b[0]) for a, b in zip(together, alone, strict=True))


@ONE_DEVICE
@pytest.mark.parametrize("layers", NETWORKS, ids=lambda layers: layers.__name__)
def test_maps_beyond_shared_memory_change_no_bit(layers: Callable, device: Device) -> None:
    maker = Maker(0)
    packed = PackedNetwork([maker.net], layers(maker))
    inside, outside = (GpuNetwork(packed, device, shared_limit=limit) for limit in (1 << 18, 0))
    # More rows than blocks: a block's maps are used again.
    rows = batch(300 if layers.__name__ == "pools" else 5, 1)
    assert all(np.array_equal(a, b) for a, b in zip(inside(*rows), outside(*rows), strict=True))


@ONE_DEVICE
def test_what_is_too_large_is_refused(device: Device) -> None:
    maker = Maker(0, frame=(2000, 2000))
    x = maker.conv(maker.net.frames(1), 16, 3)
    packed = PackedNetwork([maker.net], [maker.conv(x, 4, 3)])
    with pytest.raises(ValueError, match=r"\[rollout\] expected maps of a row of at most \d+ bytes"):
        GpuNetwork(packed, device)


@ONE_DEVICE
def test_a_workspace_too_small_is_refused(device: Device) -> None:
    maker = Maker(0)
    network = GpuNetwork(PackedNetwork([maker.net], [maker.linear(maker.net.frames(1), 40)]), device)
    needed = network.core.workspace_bytes(9)
    with pytest.raises(ValueError, match=rf"a workspace of {needed} bytes, got {needed - 1}"):
        network.core.evaluate(0, needed - 1, 0, 0, 0, 9, 0, device.stream)
    assert network.core.workspace_bytes(10_000) < 10_000 * (20 * 28 * 2 + 200)


@ONE_DEVICE
def test_a_network_that_is_not_loaded_is_refused(device: Device) -> None:
    maker = Maker(0)
    packed = PackedNetwork([maker.net], [maker.net.frames(1)])
    core = device.module.Network(*packed.parts, False, device.module.shared_memory_limit())
    with pytest.raises(ValueError, match="whose bytes are on the device"):
        core.evaluate(0, 1 << 20, 0, 0, 0, 1, 0, device.stream)


@ONE_DEVICE
def test_no_rows_give_no_values(device: Device) -> None:
    maker = Maker(0)
    network = GpuNetwork(PackedNetwork([maker.net], [maker.linear(maker.net.frames(4), 40)]), device)
    assert network(*batch(0, 1))[0].shape == (0, 1, 1, 40)


@ONE_DEVICE
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"context": np.zeros((2, 9, 20, 28), np.uint8)},
            r"context uint8 \[2, .*, got uint8 \[2, 9",
        ),
        ({"context": np.zeros((2, 4, 20, 28), np.float32)}, r"context uint8 .*, got float32"),
        ({"action": np.array([0, ACTIONS])}, r"2 values of action in \[0, \d\)"),
        ({"member": np.array([0, -1])}, r"2 values of member in \[0, 1\)"),
        ({"member": np.array([0])}, r"2 values of member"),
    ],
)
def test_rows_that_would_be_read_outside_of_memory_are_refused(
    device: Device, changes: dict, message: str
) -> None:
    maker = Maker(0)
    network = GpuNetwork(PackedNetwork([maker.net], [maker.linear(maker.net.frames(4), 8)]), device)
    names = ("context", "action", "member")
    given = dict(zip(names, batch(2, 1), strict=True)) | changes
    with pytest.raises(ValueError, match=r"^\[rollout\] expected .*" + message):
        network(*(given[name] for name in names))
