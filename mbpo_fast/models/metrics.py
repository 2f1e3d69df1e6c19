"""How good predictions are: errors of pixels, scores of rare events, rank correlation.

The trainer's held-out check and the report card both judge by these definitions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.models.losses import CHANGED_LEVELS

Frames = NDArray[np.uint8]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class PixelErrors:
    """Absolute errors of N predicted frames in gray levels, summed over the pixels of each frame.

    `changed` counts the changed pixels, i64 [N]: those that differ by more than CHANGED_LEVELS from the last
    frame. The sums are i64 [N]: over the changed pixels, over the whole frame, and the same of a prediction
    that copies the last frame. `pixels` is the number of pixels of a frame.
    """

    pixels: int
    changed: NDArray[np.int64]
    changed_error: NDArray[np.int64]
    changed_copy: NDArray[np.int64]
    frame_error: NDArray[np.int64]
    frame_copy: NDArray[np.int64]

    def pooled(self, where: Bools | None = None) -> dict[str, float]:
        """Means over pixels of the frames `where` bool [N] (default: all), and their shares of the copy's.

        Keys: `changed_error`, `changed_error_copy`, `changed_error_ratio`, and the same with `frame`. NaN
        where there is no such pixel, or where the copy is without error.
        """
        chosen = np.ones(len(self.changed), bool) if where is None else where
        metrics: dict[str, float] = {}
        for name, count, error, copy in (
            ("changed", self.changed[chosen].sum(), self.changed_error, self.changed_copy),
            ("frame", self.pixels * chosen.sum(), self.frame_error, self.frame_copy),
        ):
            total, copied = error[chosen].sum(), copy[chosen].sum()
            metrics[f"{name}_error"] = ratio(total, count)
            metrics[f"{name}_error_copy"] = ratio(copied, count)
            metrics[f"{name}_error_ratio"] = ratio(total, copied)
        return metrics


def pixel_errors(newest: Frames, target: Frames, predicted: Frames) -> PixelErrors:
    """Errors of `predicted`, all u8 [N, h, w]; `newest` is the last frame that the model saw."""
    copy = np.abs(target.astype(np.int16) - newest)
    error = np.abs(target.astype(np.int16) - predicted)
    changed = copy > CHANGED_LEVELS
    over = (1, 2)
    return PixelErrors(
        pixels=math.prod(target.shape[1:]),
        changed=changed.sum(axis=over),
        changed_error=(error * changed).sum(axis=over, dtype=np.int64),
        changed_copy=(copy * changed).sum(axis=over, dtype=np.int64),
        frame_error=error.sum(axis=over, dtype=np.int64),
        frame_copy=copy.sum(axis=over, dtype=np.int64),
    )


def join_errors(parts: Sequence[PixelErrors]) -> PixelErrors:
    """The errors of all parts, one after the other."""
    names = ("changed", "changed_error", "changed_copy", "frame_error", "frame_copy")
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return PixelErrors(pixels=parts[0].pixels, **columns)


def ratio(value: float, of: float) -> float:
    """`value` / `of`; NaN where `of` is 0."""
    return float(value / of) if of else math.nan


def reward_signs(probs: Floats, threshold: float) -> Floats:
    """Signs of rewards from class probabilities f32 [B, 3], as `WorldModel.decide_reward` decides them."""
    signs = np.where(probs[:, 2] >= probs[:, 0], 1.0, -1.0)
    return np.where(1.0 - probs[:, 1] > threshold, signs, 0.0).astype(np.float32)


def precision_recall_f1(predicted: NDArray[np.floating], actual: NDArray[np.floating]) -> dict[str, float]:
    """Keys `precision`, `recall`, `f1` over [N] of the classes that are not zero.

    A hit is a non-zero prediction of the right class. NaN: precision where nothing is predicted, recall where
    nothing happens; F1 is 0 where neither is.
    """
    hits = int(((predicted != 0) & (predicted == actual)).sum())
    said, happened = int((predicted != 0).sum()), int((actual != 0).sum())
    f1 = 2.0 * hits / (said + happened) if said + happened else 0.0
    return {"precision": ratio(hits, said), "recall": ratio(hits, happened), "f1": f1}


def f1_score(predicted: NDArray[np.floating], actual: NDArray[np.floating]) -> float:
    """F1 of `precision_recall_f1`."""
    return precision_recall_f1(predicted, actual)["f1"]


def best_threshold(
    probability: Floats, actual: Bools, default: float, weight: NDArray[np.floating] | None = None
) -> float:
    """The threshold t that maximises F1 of `probability > t` on [N]; `default` when nothing happens.

    `weight` [N]: how many rows each one stands for; None: itself alone.
    """
    if not actual.any():
        return default
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order]
    counts = np.ones(len(ranked)) if weight is None else weight[order]
    hits = np.cumsum(actual[order] * counts)
    f1 = 2.0 * hits / (np.cumsum(counts) + hits[-1])
    # Only where the next value differs does a threshold separate the two.
    f1[:-1][ranked[:-1] == ranked[1:]] = -1.0
    cut = int(f1.argmax())
    above, below = float(ranked[cut]), float(ranked[cut + 1]) if cut + 1 < len(ranked) else 0.0
    # As a float32, which probabilities are compared as, the middle of two neighbours may be the upper one.
    middle = float(np.float32((above + below) / 2.0))
    return middle if middle < above else below


def average_precision(score: Floats, actual: Bools) -> float:
    """Area under the precision-recall curve (step form) over [N]; NaN when nothing happens.

    Equal scores share one step, so that their order does not count.
    """
    if not actual.any():
        return math.nan
    order = np.argsort(-score, kind="stable")
    steps = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    hits = np.cumsum(actual[order])[steps]
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / (steps + 1)).sum() / hits[-1])


def rank_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Spearman's correlation of [N] and [N], equal values at their mean rank; NaN where one is constant."""
    ranks = [_mean_ranks(x) for x in (a, b)]
    x, y = (rank - rank.mean() for rank in ranks)
    return ratio(float(x @ y), math.sqrt(float(x @ x) * float(y @ y)))


def _mean_ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2.0
    return ranks[group]
