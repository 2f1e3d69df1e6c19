"""Real and imagined frames side by side: what the figures of a report card look like."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.models.ensemble import WorldModel
from mbpo_fast.models.episodes import Episode, Transitions
from mbpo_fast.models.voices import predict_all

GAP = 2
"""Columns between the pictures: white where the model has just seen the real frames, else gray."""
MARKED, PLAIN = 255, 64
DISAGREEMENT_GAIN = 2.0
"""A standard deviation is at most 127.5 levels."""


def filmstrip(model: WorldModel, episode: Episode, *, refresh: int) -> Iterator[NDArray[np.uint8]]:
    """Frames u8 [h, 4 w + 3 GAP], one a step: real | predicted | absolute difference | disagreement.

    The ensemble imagines with the logged actions from its own frames; every `refresh` steps it begins anew
    from the real ones. ValueError for refresh < 1 or an episode without a step.
    """
    if refresh < 1:
        raise ValueError(f"[filmstrip] expected refresh >= 1, got {refresh}")
    rows = Transitions([episode])
    for place in rows.places():
        fresh = place % refresh == 0
        if fresh:
            context = rows.contexts(np.array([place]), model.config.context)
        *members, ensemble = predict_all(model, context, rows.action[place : place + 1])
        context = np.concatenate([context[:, 1:], ensemble.frame[:, None]], axis=1)
        spread = np.std([word.frame[0] for word in members], axis=0)
        real, predicted = rows.frames[place + 1], ensemble.frame[0]
        difference = np.abs(real.astype(np.int16) - predicted).astype(np.uint8)
        unsure = np.minimum(DISAGREEMENT_GAIN * spread, 255.0).astype(np.uint8)
        yield _side_by_side([real, predicted, difference, unsure], MARKED if fresh else PLAIN)


def _side_by_side(pictures: list[NDArray[np.uint8]], between: int) -> NDArray[np.uint8]:
    gap = np.full((len(pictures[0]), GAP), between, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)]
    return np.concatenate(parts[1:], axis=1)
