"""C51 and quantile regression against loops written from the papers."""

import math

import numpy as np
import pytest
import torch

from mbpo_fast.agents.ddqn.losses import CategoricalLoss, MeanLoss, QuantileLoss

ROWS, ATOMS = 7, 11
CPU = torch.device("cpu")


def rewards_and_discounts() -> tuple[torch.Tensor, torch.Tensor]:
    """Rows that land between bins, on one, past both ends, and an ended one."""
    reward = torch.tensor([0.3, 1.0, -0.25, 9.0, -9.0, 0.5, 0.0])
    discount = torch.tensor([0.9, 1.0, 0.5, 0.9, 0.9, 0.0, 0.99])
    return reward, discount


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def slow_projection(
    probabilities: list[float], reward: float, discount: float, support: list[float]
) -> list[float]:
    """Algorithm 1 of Bellemare et al. 2017, an atom at a time."""
    low, high = support[0], support[-1]
    gap = (high - low) / (len(support) - 1)
    projected = [0.0] * len(support)
    for probability, atom in zip(probabilities, support, strict=True):
        place = (min(max(reward + discount * atom, low), high) - low) / gap
        lower, upper = math.floor(place), math.ceil(place)
        if lower == upper:
            projected[lower] += probability
        else:
            projected[lower] += probability * (upper - place)
            projected[upper] += probability * (place - lower)
    return projected


def test_c51_projection_equals_the_papers_loop() -> None:
    support = torch.linspace(-2.0, 3.0, ATOMS)
    following = noise(ROWS, ATOMS)
    reward, discount = rewards_and_discounts()
    expected = [
        slow_projection(p.tolist(), float(r), float(d), support.tolist())
        for p, r, d in zip(following.softmax(1), reward, discount, strict=True)
    ]
    got = CategoricalLoss(support).target(following, reward, discount)
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(got.sum(1), torch.ones(ROWS))


def test_c51_ended_row_is_its_reward_alone() -> None:
    support = torch.linspace(-2.0, 3.0, ATOMS)
    got = CategoricalLoss(support).target(noise(1, ATOMS), torch.tensor([1.0]), torch.tensor([0.0]))
    torch.testing.assert_close(got, (support == 1.0).to(torch.float32)[None])


def test_c51_loss_is_the_cross_entropy_and_the_priority() -> None:
    output, target = noise(ROWS, ATOMS, seed=1), noise(ROWS, ATOMS, seed=2).softmax(1)
    expected = [
        -sum(float(t) * math.log(float(p)) for t, p in zip(ts, ps, strict=True))
        for ts, ps in zip(target, output.softmax(1), strict=True)
    ]
    loss, priority = CategoricalLoss(torch.linspace(0, 1, ATOMS)).compare(output, target)
    torch.testing.assert_close(loss, torch.tensor(expected))
    torch.testing.assert_close(priority, loss)


def slow_quantile_loss(output: list[float], target: list[float]) -> float:
    """Eq. 9 and 10 of Dabney et al. 2018, a pair at a time."""
    total = 0.0
    for i, quantile in enumerate(output):
        level = (2 * i + 1) / (2 * len(output))
        for value in target:
            error = value - quantile
            huber = 0.5 * error**2 if abs(error) <= 1 else abs(error) - 0.5
            total += abs(level - (error < 0)) * huber / len(target)
    return total


def test_quantile_loss_equals_the_papers_loop_with_its_gradient() -> None:
    output, target = (2 * noise(ROWS, 5, seed=3)).requires_grad_(), 2 * noise(ROWS, 5, seed=4)
    loss, priority = QuantileLoss(5, CPU).compare(output, target)
    expected = [slow_quantile_loss(o, t) for o, t in zip(output.tolist(), target.tolist(), strict=True)]
    torch.testing.assert_close(loss.detach(), torch.tensor(expected))
    torch.testing.assert_close(priority, loss.detach())
    loss.sum().backward()
    nudge = 1e-4
    for i in range(5):
        moved = output.detach().to(torch.float64)
        moved[0, i] += nudge
        slope = (slow_quantile_loss(moved[0].tolist(), target[0].tolist()) - expected[0]) / nudge
        assert float(output.grad[0, i]) == pytest.approx(slope, abs=1e-3)


def test_quantile_regression_finds_the_quantiles() -> None:
    samples = torch.arange(1000, dtype=torch.float32)[None] / 10
    output = torch.zeros(1, 4, requires_grad=True)
    loss = QuantileLoss(4, CPU)
    optimizer = torch.optim.SGD([output], lr=20.0)
    for _ in range(400):
        optimizer.zero_grad()
        loss.compare(output, samples)[0].sum().backward()
        optimizer.step()
    # At 1/8, 3/8, 5/8 and 7/8 of 0 .. 99.9; Huber's bend moves them by less than its width.
    torch.testing.assert_close(output.detach()[0], torch.tensor([12.5, 37.5, 62.5, 87.5]), atol=1.0, rtol=0)


def test_quantile_target_moves_every_quantile() -> None:
    reward, discount = rewards_and_discounts()
    following = noise(ROWS, 3)
    got = QuantileLoss(3, CPU).target(following, reward, discount)
    for row in range(ROWS):
        for i in range(3):
            expected = float(reward[row]) + float(discount[row]) * float(following[row, i])
            assert float(got[row, i]) == pytest.approx(expected, abs=1e-6)


def test_mean_loss_is_hubers_and_its_priority_the_error() -> None:
    output, target = torch.tensor([[0.0], [3.0], [1.0]]), torch.tensor([[0.5], [-1.0], [1.0]])
    loss, priority = MeanLoss().compare(output, target)
    assert loss.tolist() == pytest.approx([0.125, 3.5, 0.0])
    assert priority.tolist() == pytest.approx([0.5, 4.0, 0.0])
