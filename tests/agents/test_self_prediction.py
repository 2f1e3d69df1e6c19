"""DDQN's self-predictive loss against a slow reference, and that its switch stands alone."""

import copy

import numpy as np
import pytest
import torch

from mbpo_fast.agents.ddqn.self_prediction import self_prediction_loss
from mbpo_fast.data import Batch
from mbpo_fast.data.batch import Futures

SIDE, ACTIONS, STEPS, ROWS = 36, 4, 3, 5


def futures(seed: int = 1) -> Futures:
    rng = np.random.default_rng(seed)
    return Futures(
        action=rng.integers(0, ACTIONS, (STEPS, ROWS)),
        stacks=rng.integers(0, 256, (STEPS, ROWS, 4, SIDE, SIDE), dtype=np.uint8),
        alive=np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 1], [1, 0, 0, 1, 1]], bool),
    )


def slow_reference(learner, obs: np.ndarray, seen: Futures) -> list[float]:
    """Row by row and pixel by pixel of the maps, in float64."""
    nets = [
        copy.deepcopy(net).double().requires_grad_(False)
        for net in (learner.online, learner.target, learner.self_prediction)
    ]
    online, target, model = nets

    def encoded(net, stack: np.ndarray) -> torch.Tensor:
        return net.encoder.convs[:-1](torch.from_numpy(stack)[None].double() / 255)

    def conv(layer, maps: torch.Tensor) -> torch.Tensor:
        channels, height, width = maps.shape
        padded = torch.zeros(channels, height + 2, width + 2, dtype=torch.float64)
        padded[:, 1:-1, 1:-1] = maps
        out = torch.empty(len(layer.bias), height, width, dtype=torch.float64)
        for y in range(height):
            for x in range(width):
                window = padded[:, y : y + 3, x : x + 3]
                out[:, y, x] = (layer.weight * window).sum(dim=(1, 2, 3)) + layer.bias
        return out.relu()

    losses = []
    for row in range(seen.action.shape[1]):
        latent, total = encoded(online, obs[row])[0], 0.0
        for k in range(STEPS):
            planes = torch.zeros(ACTIONS, *latent.shape[1:], dtype=torch.float64)
            planes[seen.action[k, row]] = 1
            latent = conv(model.second, conv(model.first, torch.cat([latent, planes])))
            if not seen.alive[k, row]:
                break
            projection = online.hidden[0].weight @ latent.flatten() + online.hidden[0].bias
            guess = model.predictor.weight @ projection + model.predictor.bias
            features = encoded(target, seen.stacks[k, row]).flatten()
            truth = target.hidden[0].weight @ features + target.hidden[0].bias
            total -= float(guess @ truth / (guess.norm() * truth.norm()))
        losses.append(total)
    return losses


@pytest.mark.parametrize("encoder", ["nature", "impala"])
def test_the_loss_equals_the_slow_reference(encoder: str, agent, perturb) -> None:
    learner = agent(spr_steps=STEPS, encoder=encoder)
    perturb(learner.target)
    seen = futures()
    rows = np.random.default_rng(2).integers(0, 256, (ROWS, 4, SIDE, SIDE), dtype=np.uint8)
    with torch.no_grad():
        features = learner.online.features(torch.from_numpy(rows))
        stacks = torch.from_numpy(seen.stacks.reshape(-1, 4, SIDE, SIDE))
        loss = self_prediction_loss(
            learner.self_prediction,
            learner.online,
            learner.target,
            features,
            torch.from_numpy(seen.action),
            torch.from_numpy(seen.alive),
            stacks,
        )
    expected = slow_reference(learner, rows, seen)
    np.testing.assert_allclose(loss.numpy(), expected, atol=1e-5)
    assert max(expected) - min(expected) > 0.01


def with_futures(batch: Batch) -> Batch:
    batch.futures = futures()
    return batch


def test_it_moves_the_encoder_and_adds_its_weight_to_the_value_loss(agent, batch) -> None:
    plain, weighted = agent(), agent(spr_steps=STEPS, spr_weight=3.0)
    first, second = plain.update(batch()), weighted.update(with_futures(batch()))
    assert torch.equal(first["loss"], second["loss"]), "the value's own loss, at equal weights"
    assert "spr_loss" not in first
    assert -STEPS <= float(second["spr_loss"]) <= STEPS
    own, other = (learner.online.encoder.state_dict() for learner in (plain, weighted))
    assert any(not torch.equal(own[name], other[name]) for name in own)


def test_its_gradient_has_its_weight_and_each_rows(agent, batch) -> None:
    """The transition model gets no other gradient."""

    def gradient(row_weight: float, **settings: float) -> torch.Tensor:
        learner, rows = agent(spr_steps=STEPS, max_grad_norm=1e9, **settings), with_futures(batch())
        rows.weight[:] = row_weight
        learner.update(rows)
        return learner.self_prediction.first.weight.grad

    once = gradient(1.0, spr_weight=1.0)
    assert once.abs().max() > 0
    assert torch.allclose(gradient(1.0, spr_weight=3.0), 3 * once, rtol=1e-3, atol=1e-6)
    assert torch.allclose(gradient(0.5, spr_weight=1.0), 0.5 * once, rtol=1e-3, atol=1e-6)


def test_it_falls_and_its_target_gets_no_gradient(agent, batch) -> None:
    learner = agent(spr_steps=STEPS, learning_rate=1e-3)
    losses = [float(learner.update(with_futures(batch()))["spr_loss"]) for _ in range(30)]
    assert losses[-1] < losses[0] - 0.5
    assert all(parameter.grad is None for parameter in learner.target.parameters())


def test_the_future_shifts_with_offsets_of_its_own(agent, batch) -> None:
    learner = agent(spr_steps=STEPS, random_shift=3)
    plain = agent(random_shift=3)
    obs, next_obs, future = learner._augmented(with_futures(batch()))
    assert [torch.equal(a, b) for a, b in zip(plain._augmented(batch()), (obs, next_obs), strict=True)] == [
        True,
        True,
    ]
    assert future.shape == (STEPS * ROWS, 4, SIDE, SIDE)
    moved = (future.numpy() != futures().stacks.reshape(future.shape)).any(axis=(1, 2, 3))
    assert moved.mean() > 0.8


def test_a_restored_learner_goes_on_with_the_same_bits(agent, batch) -> None:
    first, second = agent(spr_steps=STEPS), agent(spr_steps=STEPS)
    first.update(with_futures(batch()))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    ends = [learner.update(with_futures(batch(1)))["spr_loss"] for learner in (first, second)]
    assert torch.equal(*ends)
    own, other = first.state_dict()["self_prediction"], second.state_dict()["self_prediction"]
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert "self_prediction" not in agent().state_dict()
