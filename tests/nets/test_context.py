"""What the first layers read is the same from the core, on a CPU, and from torch, on a GPU."""

import pytest
import torch

from mbpo_fast.nets import context as maps

CONTEXT = torch.randint(0, 256, (3, 6, 36, 84), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("newest", [1, 4, 6])
def test_movements_by_the_core_and_by_torch(dtype: torch.dtype, newest: int) -> None:
    ours, by_torch = (
        maps.movements(CONTEXT, newest, 4, dtype),
        maps._movements_by_torch(CONTEXT, newest, 4, dtype),
    )
    assert ours.dtype == by_torch.dtype == dtype
    assert torch.equal(ours, by_torch)
    assert ours.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("frames", [CONTEXT, CONTEXT[:, 1:], CONTEXT[:, ::2]])
def test_steps_of_cell_means_on_views_too(frames: torch.Tensor) -> None:
    means = torch.nn.functional.avg_pool2d(frames.double(), 4)
    expected = means[:, 1:] - means[:, :-1]
    assert torch.equal(maps.cell_steps(frames, 4).double(), expected)
    assert torch.allclose(maps._cell_steps_by_torch(frames).double(), expected, atol=1e-4)


@pytest.mark.filterwarnings("error")
def test_a_compiler_passes_over_the_core() -> None:
    compiled = torch.compile(lambda frames: maps.cell_steps(frames, 4).abs().mean(), backend="eager")
    assert compiled(CONTEXT) == maps.cell_steps(CONTEXT, 4).abs().mean()
    compiled = torch.compile(
        lambda frames: maps.movements(frames, 2, 4, torch.float32).sum(), backend="eager"
    )
    assert compiled(CONTEXT) == maps.movements(CONTEXT, 2, 4, torch.float32).sum()
