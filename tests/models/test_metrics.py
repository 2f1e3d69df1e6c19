"""F1, thresholds and average precision against brute force and hand-made cases."""

import math

import numpy as np
import pytest

from mbpo_fast.models.metrics import average_precision, best_threshold, f1_score


def test_f1_counts_a_wrong_sign_as_a_miss() -> None:
    actual = np.array([1.0, 1.0, 0.0, 0.0, -1.0])
    assert f1_score(actual, actual) == 1.0
    assert f1_score(np.array([1.0, 0.0, 1.0, 0.0, 1.0]), actual) == pytest.approx(2 * 1 / (3 + 3))
    assert f1_score(np.zeros(5), actual) == 0.0
    assert f1_score(np.zeros(5), np.zeros(5)) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_best_threshold_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    actual = rng.random(60) < 0.2
    probability = np.round(0.4 * actual + 0.6 * rng.random(60), 1).astype(np.float32)  # with many ties
    chosen = best_threshold(probability, actual, 0.5)

    def score(threshold: float) -> float:
        return f1_score((probability > threshold).astype(float), actual.astype(float))

    assert score(chosen) == pytest.approx(max(score(t) for t in np.linspace(-0.05, 1.05, 111)))


def test_best_threshold_without_events_is_the_default() -> None:
    assert best_threshold(np.ones(3, np.float32), np.zeros(3, bool), 0.25) == 0.25


def test_average_precision_by_hand() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.1], np.float32)
    assert average_precision(score, np.array([True, False, True, False])) == pytest.approx((1 + 2 / 3) / 2)
    assert math.isnan(average_precision(score, np.zeros(4, bool)))
