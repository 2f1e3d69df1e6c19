"""World-model networks: they see all that they are given and start as a copy."""

import copy

import pytest
import torch
import torch.nn.functional as F

from mbpo_fast.nets import ClockNet, GridNet, NatureNet, PixelNet, Prediction

ROWS, CONTEXT, ACTIONS = 4, 5, 6


def member(arch: str, side: int = 36) -> PixelNet:
    if arch == "nature":
        return NatureNet(CONTEXT, (side, side), ACTIONS, fc_dim=32)
    sizes = {"width": 8, "depth": 2, "outcome_width": 8}
    net: GridNet | ClockNet
    if arch == "grid":
        net = GridNet(CONTEXT, (side, side), ACTIONS, **sizes)
    else:
        net = ClockNet(CONTEXT, (side, side), ACTIONS, **sizes, detail_frames=4)
    with torch.no_grad():  # the head starts at zero, which would hide a wrong input
        net.head.weight.normal_(std=0.1)
    return net


def inputs(side: int = 36) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    context = torch.randint(0, 256, (ROWS, CONTEXT, side, side), generator=generator, dtype=torch.uint8)
    return context, torch.randint(0, ACTIONS, (ROWS,), generator=generator)


@pytest.mark.parametrize("arch", ["clock", "grid", "nature"])
@pytest.mark.parametrize("side", [36, 84])
def test_shapes(arch: str, side: int) -> None:
    out = member(arch, side)(*inputs(side))
    assert out.delta.shape == (ROWS, side, side)
    assert out.reward_logits.shape == (ROWS, 3)
    assert out.end_logit.shape == (ROWS,)


@pytest.mark.parametrize("arch", ["clock", "grid", "nature"])
def test_sees_the_action_and_every_frame(arch: str) -> None:
    torch.manual_seed(1)
    net, (context, action) = member(arch), inputs()
    base = net(context, action).delta
    assert (net(context, (action + 1) % ACTIONS).delta - base).abs().max() > 1e-5
    for frame in range(CONTEXT):
        other = context.clone()
        other[:, frame] = 255 - other[:, frame]
        assert (net(other, action).delta - base).abs().max() > 1e-5, f"frame {frame} is not seen"


@pytest.mark.parametrize("net", [GridNet, ClockNet])
def test_a_fresh_member_copies_the_last_frame(net: type[GridNet] | type[ClockNet]) -> None:
    net = net(CONTEXT, (36, 36), ACTIONS, width=8)
    context, action = inputs()
    newest = context[:, -1]
    assert torch.equal(net(context, action).next_frame(newest), newest)


def test_the_clock_alone_moves_every_cell_and_only_through_its_own_path() -> None:
    """A change far away, longer ago than the detailed frames reach, is felt everywhere: that is the clock."""
    torch.manual_seed(1)
    net = member("clock", 84)
    assert isinstance(net, ClockNet)
    context, action = inputs(84)
    context = context // 64  # quiet screens: a clock that is not at its limit
    other = context.clone()
    other[:, 0, :8, :8] += 100
    near, far = slice(0, 40), slice(60, 84)
    felt = (net(other, action).delta - net(context, action).delta).abs()
    assert felt[:, near, near].max() > 1e-5
    assert felt[:, far, far].max() > 1e-7
    with torch.no_grad():
        net.condition.hidden.weight[:, ACTIONS:] = 0.0
    felt = (net(other, action).delta - net(context, action).delta).abs()
    assert felt[:, far, far].max() == 0
    assert felt[:, near, near].max() > 1e-5, "the coarse memory is local"


def test_the_outcome_learns_from_the_pixels_part_and_does_not_teach_it() -> None:
    net = member("clock")
    assert isinstance(net, ClockNet)
    said = net(*inputs())
    (said.reward_logits.sum() + said.end_logit.sum()).backward()
    taught = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert taught == {name for name, _ in net.named_parameters() if name.startswith("outcome")}
    before = net(*inputs()).reward_logits
    for part in (net.stem, net.memory, net.head, net.blocks[1].second):
        other = copy.deepcopy(net)
        with torch.no_grad():
            weight = other.get_parameter(f"{_name_of(net, part)}.weight")
            weight.add_(0.1 * torch.randn_like(weight))
        assert (other(*inputs()).reward_logits - before).abs().max() > 1e-5


def test_the_outcome_sees_single_pixels_of_the_two_newest_frames() -> None:
    net = member("clock")
    assert isinstance(net, ClockNet)
    with torch.no_grad():
        net.outcome.first.weight[:, : -2 * 16] = 0.0  # deaf to what the pixels' part knows,
        net.outcome_condition.hidden.weight[:, ACTIONS:] = 0.0  # and to the clock
    context, action = inputs()
    before = net(context, action).reward_logits
    for frame, seen in ((-1, True), (-2, True), (-3, False)):
        other = context.clone()
        other[:, frame, 17, 18] ^= 128
        changed = (net(other, action).reward_logits - before).abs().amax(dim=1)
        assert ((changed > 1e-6) == seen).all(), f"frame {frame}"


def _name_of(net: torch.nn.Module, part: torch.nn.Module) -> str:
    return next(name for name, module in net.named_modules() if module is part)


def test_the_outcome_hears_quiet_ticks_of_the_clock_louder_and_those_of_each_band() -> None:
    net = member("clock")
    heard: list[torch.Tensor] = []
    net.outcome_condition.register_forward_hook(lambda _, given, __: heard.append(given[0]))
    still = torch.zeros(1, CONTEXT, 36, 36, dtype=torch.uint8)
    one, many = still.clone(), still.clone()
    one[:, -1, :4, :4] = 81 // 9  # the mean of one cell in 81: a ninth of a level
    many[:, -1] = 200
    for context in (one, many):
        net(context, torch.zeros(1, dtype=torch.int64))
    # The screen, the same louder, the three bands from the top.
    quiet, loud = (x.reshape(5, CONTEXT - 1) for x in heard)
    assert quiet[:, -1].tolist() == pytest.approx([1 / 9, 10 / 9, 1 / 3, 0, 0], abs=1e-5)
    assert loud[:, -1].tolist() == pytest.approx([2] * 5)
    assert not quiet[:, :-1].any()
    assert not loud[:, :-1].any()


def test_the_movement_stem_is_a_convolution_over_differences() -> None:
    net = ClockNet(CONTEXT, (36, 36), ACTIONS, width=8, detail_frames=4)
    frames = inputs()[0][:, -4:].double()
    moved = torch.cat([4 * (frames[:, 1:] - frames[:, :-1]), 2 * frames[:, -1:]], dim=1) / 255
    stem = net.stem
    assert stem.bias is not None
    expected = F.conv2d(moved, stem.weight.double(), stem.bias.double(), stride=4)
    looked, newest = stem(inputs()[0], torch.float32)
    assert torch.allclose(looked.double(), expected, atol=1e-4)
    assert torch.allclose(newest.double(), F.pixel_unshuffle(moved[:, -2:], 4), atol=1e-6)


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
    with pytest.raises(ValueError, match="divisible by 4"):
        ClockNet(4, (38, 38), 3)
    with pytest.raises(ValueError, match="decoder"):
        NatureNet(4, (40, 40), 3)
