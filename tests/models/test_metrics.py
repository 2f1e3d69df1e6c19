"""F1, thresholds and average precision against brute force and hand-made cases."""

import math

import numpy as np
import pytest

from mbpo_fast.models.metrics import (
    average_precision,
    best_threshold,
    f1_score,
    pixel_errors,
    precision_recall_f1,
    rank_correlation,
    reward_signs,
)


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


def test_a_threshold_of_weighted_rows_is_that_of_as_many_copies() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        actual, weight = rng.random(40) < 0.3, rng.integers(1, 6, 40)
        probability = np.round(0.4 * actual + 0.6 * rng.random(40), 1).astype(np.float32)
        copies = np.repeat(probability, weight), np.repeat(actual, weight)
        assert best_threshold(probability, actual, 0.5, weight) == best_threshold(*copies, 0.5)


def test_a_threshold_between_neighbouring_numbers_separates_them() -> None:
    one = np.float32(1.0)
    for upper in (one, np.nextafter(one, np.float32(0))):
        lower = np.nextafter(upper, np.float32(0))
        probability = np.array([upper, lower, 0.1], np.float32)
        chosen = best_threshold(probability, np.array([True, False, False]), 0.5)
        assert (probability > np.float32(chosen)).tolist() == [True, False, False]


def test_average_precision_by_hand() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.1], np.float32)
    assert average_precision(score, np.array([True, False, True, False])) == pytest.approx((1 + 2 / 3) / 2)
    assert math.isnan(average_precision(score, np.zeros(4, bool)))


def test_average_precision_does_not_depend_on_the_order_of_equal_scores() -> None:
    score, actual = np.full(10, 0.3, np.float32), np.arange(10) < 3
    assert average_precision(score, actual) == average_precision(score, actual[::-1]) == pytest.approx(0.3)


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_the_area_under_all_thresholds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    actual = rng.random(50) < 0.3
    score = np.round(0.3 * actual + 0.7 * rng.random(50), 1).astype(np.float32)
    area = recall_before = 0.0
    for threshold in sorted(set(score.tolist()), reverse=True):
        chosen = score >= np.float32(threshold)
        recall = (chosen & actual).sum() / actual.sum()
        area += (recall - recall_before) * (chosen & actual).sum() / chosen.sum()
        recall_before = recall
    assert average_precision(score, actual) == pytest.approx(area)


def test_precision_and_recall_by_hand() -> None:
    predicted, actual = np.array([1.0, 1.0, -1.0, 0.0, 1.0]), np.array([1.0, -1.0, -1.0, 1.0, 0.0])
    assert precision_recall_f1(predicted, actual) == pytest.approx(
        {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    )
    nothing = precision_recall_f1(np.zeros(5), actual)
    assert math.isnan(nothing["precision"])
    assert nothing["recall"] == nothing["f1"] == 0.0


def test_reward_signs_by_hand() -> None:
    probs = np.array([[0.1, 0.5, 0.4], [0.4, 0.5, 0.1], [0.1, 0.8, 0.1]], np.float32)
    assert reward_signs(probs, 0.4).tolist() == [1.0, -1.0, 0.0]
    assert reward_signs(probs, 0.6).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("seed", range(3))
def test_rank_correlation_is_scipys(seed: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(seed)
    a = np.round(rng.random(40), 1)  # with many ties
    b = np.round(a + rng.random(40), 1)
    assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert rank_correlation(a, a**3) == pytest.approx(1.0)
    assert rank_correlation(a, -a) == pytest.approx(-1.0)
    assert math.isnan(rank_correlation(a, np.ones(40)))


def test_pixel_errors_by_hand() -> None:
    newest = np.array([[[10, 10], [10, 10]], [[0, 0], [0, 0]]], np.uint8)
    target = np.array([[[15, 14], [10, 0]], [[0, 0], [0, 4]]], np.uint8)
    predicted = np.array([[[10, 10], [12, 3]], [[0, 0], [0, 0]]], np.uint8)
    errors = pixel_errors(newest, target, predicted)
    assert errors.changed.tolist() == [2, 0]
    assert errors.changed_error.tolist() == [5 + 3, 0]
    assert errors.changed_copy.tolist() == [5 + 10, 0]
    assert errors.frame_error.tolist() == [5 + 4 + 2 + 3, 4]
    assert errors.frame_copy.tolist() == [5 + 4 + 10, 4]
    pooled = errors.pooled()
    assert pooled["changed_error"] == 4.0
    assert pooled["changed_error_ratio"] == 8 / 15
    assert pooled["frame_error_copy"] == 23 / 8
    second = errors.pooled(np.array([False, True]))
    assert math.isnan(second["changed_error_ratio"])
    assert second["frame_error_ratio"] == 1.0
