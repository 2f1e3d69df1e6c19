"""The ensemble: members apart, rows routed, averaged weights, dropout, the frame loss."""

from typing import Any

import numpy as np
import pytest
import torch
from moving_dot import SIDE, model, replay
from torch import Tensor

from mbpo_fast.models import ModelTrainer
from mbpo_fast.models.losses import FRAME_LOSS_SCALE, VALUE_WEIGHT, frame_loss, total_loss, typical_change
from mbpo_fast.nets import Prediction


def test_the_frame_loss_does_not_depend_on_contrast() -> None:
    newest = torch.zeros(1, 4, 4, dtype=torch.uint8)
    none = torch.zeros(1)
    losses = []
    for contrast in (50, 100):
        following = newest.clone()
        following[0, 0] = contrast
        said = Prediction(torch.full((1, 4, 4), 0.5 * contrast / 255), torch.zeros(1, 4, 4), none, none)
        losses.append(float(frame_loss(said, newest, following, typical_change(newest, following))))
    assert losses[0] == pytest.approx(losses[1])
    assert losses[0] == pytest.approx(16 * np.log(2) + VALUE_WEIGHT * 4 * 0.5)


def test_averaged_weights_are_judged_and_the_trained_ones_go_on() -> None:
    buffer = replay()
    net = model(weight_average=0.9, ensemble_size=2, num_elites=1)
    trainer = ModelTrainer(net, seed=0)
    expected = [p.detach().clone() for p in net.members.parameters()]
    pools = trainer._pools(buffer)
    for step in range(12):
        net.update(*trainer._batch(buffer, pools))
        share = max(0.1, 1 / (1 + 0.1 * step))
        expected = [
            e + share * (p.detach() - e) for e, p in zip(expected, net.learners.parameters(), strict=True)
        ]
    for e, p, q in zip(expected, net.members.parameters(), net.learners.parameters(), strict=True):
        assert torch.allclose(e, p, atol=1e-6)
        assert not p.requires_grad
        assert q.requires_grad
    assert model(weight_average=0).learners is not None
    plain = model(weight_average=0)
    assert plain.learners is plain.members


def test_dropout_is_drawn_anew_for_every_member_and_step() -> None:
    net = model(outcome_dropout=0.25, outcome_width=32)
    first = net._dropout(64)[0]
    assert first.shape == (5, 64, 32)
    assert first.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert float((first == 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first, net._dropout(64)[0]), "by number: a resumed run draws the same"
    net.gradient_steps += 1
    assert not torch.equal(first, net._dropout(64)[0])
    assert model(outcome_dropout=0)._dropout(8) == []
    assert model(arch="grid")._dropout(8) == []


def test_dropout_leaves_out_the_outcomes_channels_and_no_pixels() -> None:
    net = model()
    member = net.members[0]
    with torch.no_grad():
        member.head.weight.normal_()
    trainer = ModelTrainer(net, seed=0)
    rows = [x[0] for x in trainer._batch(replay(), trainer._pools(replay()))]
    keep = torch.ones(8, 8)
    keep[:, 3] = 0.0
    plain, dropped = net.losses(member, *rows), net.losses(member, *rows, keep=keep)
    with torch.no_grad():
        member.outcome.out.weight[:, 3] = 0.0
    assert plain["frame"] == dropped["frame"]
    assert plain["reward"] != dropped["reward"]
    assert net.losses(member, *rows)["reward"] == dropped["reward"]


def test_step_routes_each_row_to_its_member() -> None:
    net = model(ensemble_size=3, num_elites=3)
    with torch.no_grad():
        for net_member in net.members:
            net_member.head.weight.normal_(std=0.3)
            net_member.head.bias[:16] = 2.0
    context = torch.randint(0, 256, (12, 4, SIDE, SIDE), dtype=torch.uint8)
    action, member = torch.arange(12) // 4, torch.arange(12) % 3
    frame, reward, terminated = net.step(context, action, member)
    for row in range(12):
        alone, probs, end = net.predict(context[row : row + 1], action[row : row + 1], int(member[row]))
        # A batch of another size is summed in another order: a value on the edge may round to the next level.
        assert (frame[row].int() - alone[0].int()).abs().max() <= 1
        assert (frame[row] != alone[0]).float().mean() < 0.01
        assert reward[row] == net.decide_reward(probs)[0]
        assert terminated[row] == (end[0] > net.end_threshold)


def test_reward_decisions_follow_the_threshold_and_the_sign() -> None:
    net = model()
    net.reward_threshold = 0.3
    probs = torch.tensor([[0.1, 0.8, 0.1], [0.1, 0.6, 0.3], [0.5, 0.4, 0.1]])
    assert net.decide_reward(probs).tolist() == [0.0, 1.0, -1.0]


def test_ends_are_decided_by_their_threshold() -> None:
    net = model()
    probs = torch.tensor([[0.0, 1.0, 0.0]] * 2)
    net.end_threshold = 0.8
    assert net.decide(probs, torch.tensor([0.7, 0.9]))[1].tolist() == [False, True]
    net.end_threshold = 0.1
    assert net.decide(probs, torch.tensor([0.05, 0.2]))[1].tolist() == [False, True]


def test_losses_are_of_the_rewards_sign_and_added_with_their_weights() -> None:
    net, buffer = model(), replay()
    trainer = ModelTrainer(net, seed=0)
    context, action, following, reward, end = (x[0] for x in trainer._batch(buffer, trainer._pools(buffer)))
    assert reward.any()
    once, more = (
        net.losses(net.members[0], context, action, following, r, end) for r in (reward, 7 * reward)
    )
    assert once == more
    parts = {name: torch.tensor(value) for name, value in (("frame", 100.0), ("reward", 2.0), ("end", 3.0))}
    assert float(total_loss(parts)) == pytest.approx(FRAME_LOSS_SCALE * 100 + 5)
    assert FRAME_LOSS_SCALE < 0.1, "summed over a frame the pixels would drown the rest"


def test_outcome_losses_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.0, 0.0], [0.0, 0.0, 3.0], [1.0, 1.0, 1.0]])
    ends = torch.tensor([-2.0, 0.5, 1.0, 4.0])

    def said(context: Tensor, action: Tensor) -> Prediction:
        nothing = torch.zeros(4, SIDE, SIDE)
        return Prediction(nothing, None, logits, ends)

    frames = torch.zeros((4, 4, SIDE, SIDE), dtype=torch.uint8)
    reward, terminated = torch.tensor([-3.0, 0.0, 2.0, 0.0]), torch.tensor([False, True, True, False])
    net: Any = said
    losses = model().losses(net, frames, torch.zeros(4), frames[:, 0], reward, terminated)
    picked = logits.softmax(dim=1)[range(4), [0, 1, 2, 1]]
    assert float(losses["reward"]) == pytest.approx(float(-picked.log().mean()), rel=1e-5)
    chance = torch.where(terminated, ends.sigmoid(), 1 - ends.sigmoid())
    assert float(losses["end"]) == pytest.approx(float(-chance.log().mean()), rel=1e-5)


def test_the_frame_loss_without_a_mask_is_the_squared_change() -> None:
    newest, following = (torch.zeros((2, SIDE, SIDE), dtype=torch.uint8) for _ in range(2))
    following[0, 3, 4] = 51
    delta = torch.zeros(2, SIDE, SIDE)
    delta[0, 3, 4], delta[1, 0, 0] = 0.5, 0.1  # the change is 51 / 255
    said = Prediction(delta, None, torch.zeros(2, 3), torch.zeros(2))
    assert float(frame_loss(said, newest, following, 0.1)) == pytest.approx((3.0**2 + 1.0**2) / 2, rel=1e-5)


def test_dropout_is_of_the_outcome_alone_and_in_every_update() -> None:
    settings = {"arch": "clock", "detail_frames": 4, "ensemble_size": 1, "num_elites": 1}
    kept, dropped = (model(**settings, outcome_dropout=share) for share in (0.0, 0.5))
    trainer, buffer = ModelTrainer(kept, seed=0), replay()
    rows = trainer._batch(buffer, trainer._pools(buffer))
    for net in (kept, dropped):
        net.update(*rows)
    before, after = kept.learners[0].state_dict(), dropped.learners[0].state_dict()
    differ = {name for name, x in before.items() if not torch.equal(x, after[name])}
    assert differ
    assert all(name.startswith("outcome") for name in differ)


def test_every_members_gradient_is_clipped_for_itself() -> None:
    net, buffer = model(max_grad_norm=1e-3, ensemble_size=2, num_elites=1), replay()
    trainer = ModelTrainer(net, seed=0)
    net.update(*trainer._batch(buffer, trainer._pools(buffer)))
    for learner in net.learners:
        squares = [p.grad.square().sum() for p in learner.parameters() if p.grad is not None]
        assert float(torch.stack(squares).sum().sqrt()) == pytest.approx(1e-3, rel=1e-3)


def test_members_learn_apart() -> None:
    """Member 0's weights after an update depend on member 0's rows alone."""
    buffer = replay()
    first, second = model(ensemble_size=2, num_elites=1), model(ensemble_size=2, num_elites=1)
    starts = zip(*(member.parameters() for member in first.members), strict=True)
    assert not all(torch.equal(a, b) for a, b in starts), "members start different"
    trainer = ModelTrainer(first, seed=0)
    rows = trainer._batch(buffer, trainer._pools(buffer)[:2])
    other = [column.clone() for column in rows]
    other[1][1] = (other[1][1] + 1) % 3
    other[2][1] = 255 - other[2][1]
    first.update(*rows)
    second.update(*other)
    equal = [
        all(torch.equal(a, b) for a, b in zip(x.parameters(), y.parameters(), strict=True))
        for x, y in zip(first.members, second.members, strict=True)
    ]
    assert equal == [True, False]
