"""World-model networks: members are independent, and batched members equal single ones."""

import pytest
import torch

from mbpo_fast.nets import GridWorldNet, NatureWorldNet, WorldNet

MEMBERS, ROWS, CONTEXT, ACTIONS = 3, 4, 5, 6


def build(arch: str, side: int = 36) -> WorldNet:
    torch.manual_seed(1)
    if arch == "nature":
        return NatureWorldNet(MEMBERS, CONTEXT, (side, side), ACTIONS, fc_dim=32)
    net = GridWorldNet(MEMBERS, CONTEXT, (side, side), ACTIONS, width=8, depth=2, outcome_width=8)
    with torch.no_grad():  # the head starts at zero, which would hide a wrong input
        net.head.weight.normal_(std=0.1)
    return net


def inputs(side: int = 36) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    context = torch.randint(0, 256, (MEMBERS, ROWS, CONTEXT, side, side), generator=generator, dtype=torch.uint8)
    return context, torch.randint(0, ACTIONS, (MEMBERS, ROWS), generator=generator)


@pytest.mark.parametrize("arch", ["grid", "nature"])
@pytest.mark.parametrize("side", [36, 84])
def test_batched_members_equal_each_member_alone(arch: str, side: int) -> None:
    net, (context, action) = build(arch, side), inputs(side)
    frame, (reward, end) = net.frame(context, action), net.outcome(context, action)
    assert frame.delta.shape == (MEMBERS, ROWS, side, side)
    assert reward.shape == (MEMBERS, ROWS, 3)
    assert end.shape == (MEMBERS, ROWS)
    for m in range(MEMBERS):
        members = slice(m, m + 1)
        alone = net.frame(context[members], action[members], members)
        alone_reward, alone_end = net.outcome(context[members], action[members], members)
        # float32 sums in another order
        torch.testing.assert_close(alone.delta[0], frame.delta[m], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone_reward[0], reward[m], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone_end[0], end[m], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arch", ["grid", "nature"])
def test_no_gradient_crosses_members(arch: str) -> None:
    net, (context, action) = build(arch), inputs()
    frame, (reward, end) = net.frame(context, action), net.outcome(context, action)
    (frame.delta[1].sum() + reward[1].sum() + end[1].sum()).backward()
    touched = 0
    for parameter in net.parameters():
        if parameter.grad is not None:
            assert not parameter.grad[[0, 2]].any()
            touched += bool(parameter.grad[1].any())
    assert touched > 5


@pytest.mark.parametrize("arch", ["grid", "nature"])
def test_members_start_different_and_see_action_and_context(arch: str) -> None:
    net, (context, action) = build(arch), inputs()
    same = context[:1].expand(MEMBERS, -1, -1, -1, -1)
    delta = net.frame(same, action[:1].expand(MEMBERS, -1)).delta
    assert (delta[0] - delta[1]).abs().max() > 1e-4
    base = net.frame(context, action).delta
    assert (net.frame(context, (action + 1) % ACTIONS).delta - base).abs().max() > 1e-5
    for frame in range(CONTEXT):
        other = context.clone()
        other[:, :, frame] = 255 - other[:, :, frame]
        assert (net.frame(other, action).delta - base).abs().max() > 1e-5, f"frame {frame} is not seen"


def test_a_fresh_grid_model_copies_the_last_frame() -> None:
    net = GridWorldNet(MEMBERS, CONTEXT, (36, 36), ACTIONS, width=8)
    context, action = inputs()
    newest = context[:, :, -1]
    assert torch.equal(net.frame(context, action).next_frame(newest), newest)


def test_next_frame_clips_and_rounds() -> None:
    from mbpo_fast.nets import FramePrediction

    newest = torch.tensor([[[[250, 5, 100, 100]]]], dtype=torch.uint8)
    delta = torch.tensor([[[[0.1, -0.1, 0.0021, -0.0019]]]])
    assert FramePrediction(delta, None).next_frame(newest).flatten().tolist() == [255, 0, 101, 100]
    masked = FramePrediction(delta, torch.tensor([[[[1.0, -1.0, 1.0, -1.0]]]]))
    assert masked.next_frame(newest).flatten().tolist() == [255, 5, 101, 100]


def test_unfit_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="divisible by 4"):
        GridWorldNet(1, 4, (38, 38), 3)
    with pytest.raises(ValueError, match="decoder"):
        NatureWorldNet(1, 4, (40, 40), 3)
