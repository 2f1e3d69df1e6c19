"""Advantages against the sum of the paper, term by term."""

import numpy as np
import pytest

from mbpo_fast.agents import generalized_advantages

STEPS, ENVS = 24, 3


def slow_advantage(t, env, reward, value, terminated, truncated, gamma, lam):
    """Equation 16 of Schulman et al. 2016, up to the end of the episode or of the rollout."""
    total = 0.0
    for k in range(STEPS - t):
        here = t + k
        bootstrap = 0.0 if terminated[here, env] else float(value[here + 1, env])
        delta = float(reward[here, env]) + gamma * bootstrap - float(value[here, env])
        total += (gamma * lam) ** k * delta
        if terminated[here, env] or truncated[here, env]:
            break
    return total


def random_rollout(seed: int) -> tuple[np.ndarray, ...]:
    """Rewards, values and ends; a step after an end carries only a reset, as NEXT_STEP autoreset has it."""
    rng = np.random.default_rng(seed)
    reward = rng.normal(size=(STEPS, ENVS)).astype(np.float32)
    value = rng.normal(size=(STEPS + 1, ENVS)).astype(np.float32)
    kind = rng.choice(3, p=[0.7, 0.15, 0.15], size=(STEPS, ENVS))
    first = np.zeros((STEPS, ENVS), bool)
    for t in range(1, STEPS):
        first[t] = (kind[t - 1] > 0) & ~first[t - 1]
    kind[first] = 0
    reward[first] = 0.0
    return reward, value, kind == 1, kind == 2, first


@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (0.9, 0.0), (1.0, 1.0)])
def test_equals_the_papers_sum(gamma: float, lam: float) -> None:
    for seed in range(5):
        reward, value, terminated, truncated, first = random_rollout(seed)
        assert terminated.any()
        assert truncated.any()
        got = generalized_advantages(reward, value, terminated, truncated, gamma=gamma, gae_lambda=lam)
        assert got.dtype == np.float32
        for t, env in np.argwhere(~first):
            expected = slow_advantage(t, env, reward, value, terminated, truncated, gamma, lam)
            assert got[t, env] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_nothing_depends_on_what_a_reset_row_carries() -> None:
    reward, value, terminated, truncated, first = random_rollout(1)
    before = generalized_advantages(reward, value, terminated, truncated, gamma=0.99, gae_lambda=0.95)
    reward[first] = 100.0
    after = generalized_advantages(reward, value, terminated, truncated, gamma=0.99, gae_lambda=0.95)
    assert np.array_equal(before[~first], after[~first])


def test_a_truncated_step_bootstraps_and_a_terminated_one_does_not() -> None:
    reward, value = np.ones((1, 2), np.float32), np.array([[0.5, 0.5], [10.0, 10.0]], np.float32)
    terminated, truncated = np.array([[True, False]]), np.array([[False, True]])
    got = generalized_advantages(reward, value, terminated, truncated, gamma=0.9, gae_lambda=0.95)
    np.testing.assert_allclose(got, [[0.5, 9.5]])
