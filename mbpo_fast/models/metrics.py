"""Scores of rare events: F1, the threshold that maximises it, and average precision."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


def f1_score(predicted: NDArray[np.floating], actual: NDArray[np.floating]) -> float:
    """F1 over [N] of the classes that are not zero: a hit is a non-zero prediction of the right class.

    0 where nothing is predicted and nothing happens.
    """
    hits = int(((predicted != 0) & (predicted == actual)).sum())
    denominator = int((predicted != 0).sum()) + int((actual != 0).sum())
    return 2.0 * hits / denominator if denominator else 0.0


def best_threshold(probability: Floats, actual: Bools, default: float) -> float:
    """The threshold t that maximises F1 of `probability > t` on [N]; `default` when nothing happens."""
    if not actual.any():
        return default
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order]
    hits = np.cumsum(actual[order])
    f1 = 2.0 * hits / (np.arange(1, len(ranked) + 1) + hits[-1])
    # Only where the next value differs does a threshold separate the two.
    f1[:-1][ranked[:-1] == ranked[1:]] = -1.0
    cut = int(f1.argmax())
    below = ranked[cut + 1] if cut + 1 < len(ranked) else 0.0
    return float((ranked[cut] + below) / 2.0)


def average_precision(score: Floats, actual: Bools) -> float:
    """Area under the precision-recall curve (step form) over [N]; NaN when nothing happens."""
    if not actual.any():
        return float("nan")
    ranked = actual[np.argsort(-score, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean())
