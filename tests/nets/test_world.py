"""World-model networks: they see all that they are given and start as a copy."""

import pytest
import torch
import torch.nn.functional as F

from mbpo_fast.nets import GridNet, NatureNet, PixelNet, Prediction
from mbpo_fast.nets.world import space_to_depth

ROWS, CONTEXT, ACTIONS = 4, 5, 6


def member(arch: str, side: int = 36) -> PixelNet:
    if arch == "nature":
        return NatureNet(CONTEXT, (side, side), ACTIONS, fc_dim=32)
    net = GridNet(CONTEXT, (side, side), ACTIONS, width=8, depth=2, outcome_width=8)
    with torch.no_grad():  # the head starts at zero, which would hide a wrong input
        net.head.weight.normal_(std=0.1)
    return net


def inputs(side: int = 36) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    context = torch.randint(0, 256, (ROWS, CONTEXT, side, side), generator=generator, dtype=torch.uint8)
    return context, torch.randint(0, ACTIONS, (ROWS,), generator=generator)


@pytest.mark.parametrize("arch", ["grid", "nature"])
@pytest.mark.parametrize("side", [36, 84])
def test_shapes(arch: str, side: int) -> None:
    out = member(arch, side)(*inputs(side))
    assert out.delta.shape == (ROWS, side, side)
    assert out.reward_logits.shape == (ROWS, 3)
    assert out.end_logit.shape == (ROWS,)


@pytest.mark.parametrize("arch", ["grid", "nature"])
def test_sees_the_action_and_every_frame(arch: str) -> None:
    torch.manual_seed(1)
    net, (context, action) = member(arch), inputs()
    base = net(context, action).delta
    assert (net(context, (action + 1) % ACTIONS).delta - base).abs().max() > 1e-5
    for frame in range(CONTEXT):
        other = context.clone()
        other[:, frame] = 255 - other[:, frame]
        assert (net(other, action).delta - base).abs().max() > 1e-5, f"frame {frame} is not seen"


def test_a_fresh_grid_member_copies_the_last_frame() -> None:
    net = GridNet(CONTEXT, (36, 36), ACTIONS, width=8)
    context, action = inputs()
    newest = context[:, -1]
    assert torch.equal(net(context, action).next_frame(newest), newest)


def test_space_to_depth_is_pixel_unshuffle() -> None:
    context = inputs()[0]
    cells = space_to_depth(context, 4)
    assert torch.equal(cells, F.pixel_unshuffle(context, 4))
    assert cells.is_contiguous(memory_format=torch.channels_last)


def test_next_frame_clips_and_rounds() -> None:
    newest = torch.tensor([[[250, 5, 100, 100]]], dtype=torch.uint8)
    delta = torch.tensor([[[0.1, -0.1, 0.0021, -0.0019]]])
    none = torch.zeros(1)
    assert Prediction(delta, None, none, none).next_frame(newest).flatten().tolist() == [255, 0, 101, 100]
    masked = Prediction(delta, torch.tensor([[[1.0, -1.0, 1.0, -1.0]]]), none, none)
    assert masked.next_frame(newest).flatten().tolist() == [255, 5, 101, 100]


def test_unfit_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="divisible by 4"):
        GridNet(4, (38, 38), 3)
    with pytest.raises(ValueError, match="decoder"):
        NatureNet(4, (40, 40), 3)
