"""Sums by products of bfloat16: near the float32 ones, exact where the numbers are, and only where fast."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from layer_lists import NETWORKS, Maker, batch

from mbpo_fast import _core
from mbpo_fast.ops.network import PackedNetwork

NEAR = 0.03
"""Of the values, root mean squares: 0.002 a layer of numbers with 8 bits, up to 0.013 by Winograd's sums."""
SUMS = {"convolutions", "residual_blocks", "winograd_borders", "streamed", "conditions", "joins", "heads"}


@pytest.fixture
def _baseline() -> Iterator[None]:
    before = _core.isa()
    _core.use_isa("baseline")
    yield
    _core.use_isa(before)


def both(layers: Callable, rows: int, members: int) -> list[list[np.ndarray]]:
    """Outputs with float32 products, and where bfloat16 is allowed."""
    outs = []
    for bf16 in (False, True):
        makers = [Maker(seed, bf16=bf16) for seed in range(members)]
        outputs = [layers(maker) for maker in makers][-1]
        packed = PackedNetwork([maker.net for maker in makers], outputs)
        outs.append(packed(*batch(rows, members), _core.ThreadPool(2)))
    return outs


@pytest.mark.usefixtures("fast_bf16")
@pytest.mark.parametrize("layers", NETWORKS, ids=lambda layers: layers.__name__)
@pytest.mark.parametrize(("rows", "members"), [(1, 1), (19, 3)])
def test_sums_of_bf16_products_are_near(layers: Callable, rows: int, members: int) -> None:
    exact, rough = both(layers, rows, members)
    for a, b in zip(exact, rough, strict=True):
        assert np.sqrt(np.mean((a - b) ** 2)) <= NEAR * np.sqrt(np.mean(a**2))
    same = all(np.array_equal(a, b) for a, b in zip(exact, rough, strict=True))
    assert not (same and layers.__name__ in SUMS), "no product was rounded"


@pytest.mark.usefixtures("fast_bf16")
def test_whole_numbers_are_summed_exactly() -> None:
    """Pixels have 8 bits, as bfloat16 has: sums of their products with small whole numbers lose nothing."""
    outs = []
    for bf16 in (False, True):
        maker = Maker(0, bf16=bf16)

        def whole(*shape: int, maker: Maker = maker) -> np.ndarray:
            return maker.rng.integers(-8, 9, shape).astype(np.float32)

        cells = maker.net.frames(4, cell=2, scale=1.0)
        outputs = [
            maker.net.convolution(cells, whole(out, 16, kernel, kernel), whole(out), stride=stride)
            for out, kernel, stride in [(5, 1, 1), (32, 2, 2), (48, 4, 1), (33, 5, 3), (16, 3, 2)]
        ]
        size = int(np.prod(maker.net.shape(outputs[2])))
        outputs.append(maker.net.linear(outputs[2], whole(20, size) / 64, whole(20), exact=True))
        pixels = maker.net.frames(5, cell=4, scale=1.0)
        outputs.append(maker.net.linear(pixels, whole(37, 5 * 7 * 80), whole(37)))
        outs.append(PackedNetwork([maker.net], outputs)(*batch(17, 1)))
    for a, b in zip(*outs, strict=True):
        assert np.array_equal(a, b)
        assert np.ptp(a) > 0


@pytest.mark.usefixtures("_baseline")
@pytest.mark.parametrize("layers", NETWORKS, ids=lambda layers: layers.__name__)
def test_without_fast_products_nothing_changes(layers: Callable) -> None:
    assert not _core.has_fast_bf16()
    exact, same = both(layers, 3, 2)
    assert all(np.array_equal(a, b) for a, b in zip(exact, same, strict=True))
