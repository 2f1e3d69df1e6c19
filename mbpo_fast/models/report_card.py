"""The report card: a world model judged on whole games that it has never seen."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mbpo_fast.models.ensemble import WorldModel
from mbpo_fast.models.episodes import Episode, Ids, Transitions
from mbpo_fast.models.metrics import (
    PixelErrors,
    average_precision,
    best_threshold,
    join_errors,
    pixel_errors,
    precision_recall_f1,
    rank_correlation,
    ratio,
    reward_signs,
)
from mbpo_fast.models.uncertainty import disagreement
from mbpo_fast.models.voices import Word, predict_all, voice_of
from mbpo_fast.ops import Stream, random_uniform

HORIZONS = (1, 5, 10, 15)
"""Open-loop steps after which frames are compared."""
FEW_PIXELS = 200
"""Steps in which fewer pixels change are those that the action, and not the game's own march, decides."""
CHUNK = 256


@dataclass(frozen=True)
class Figures:
    """What is said of one member, or of the ensemble.

    errors: by horizon, the keys of `PixelErrors.pooled` and `rows`. reward, end: `precision`, `recall`, `f1`,
    `pr_auc` and the `threshold`. action_sensitivity: error with shuffled actions / error at one step, keys
    `changed` and `frame`, and `changed_few` and `frame_few` on steps where fewer than FEW_PIXELS change.
    """

    errors: dict[int, dict[str, float]]
    reward: dict[str, float]
    end: dict[str, float]
    action_sensitivity: dict[str, float]


@dataclass(frozen=True)
class ReportCard:
    """The figures of every member, and of the ensemble: the mean of its elites' predictions.

    changed_share: changed pixels of all. rewarded, ended: steps with a reward, and with an end.
    decided: what rollouts make of it, by the model's own thresholds, means over the elites: `precision`,
    `recall` and `f1` of `reward` and `end`, and of `end` the share `false` of the steps that go on.
    disagreement: rank correlation of the members' disagreement with the ensemble's error, by frame; keys
    `frame`, `changed` (error per changed pixel). NaN stands for what cannot be told from these episodes.
    """

    episodes: int
    rows: int
    changed_share: float
    few_share: float
    rewarded: int
    ended: int
    ensemble: Figures
    members: list[Figures]
    elites: list[int]
    decided: dict[str, dict[str, float]]
    disagreement: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text for JSON; None for NaN."""
        content: dict[str, Any] = _plain(asdict(self))
        return content


def report_card(
    model: WorldModel,
    episodes: Sequence[Episode],
    *,
    calibration: Sequence[Episode],
    horizons: Sequence[int] = HORIZONS,
    starts: int = 1000,
    seed: int = 0,
) -> ReportCard:
    """Judge `model` on `episodes`.

    calibration: other episodes, on which the thresholds of reward and end are set, for every member its own.
    starts: at most so many branches, evenly spread, are followed for more than one step; a branch leaves the
    figures where its episode ends. seed: of the shuffled actions. ValueError without a step.
    """
    rows = Transitions(episodes)
    places = rows.places()
    order = np.argsort(random_uniform(seed, Stream.SHUFFLE, 0, len(places)), kind="stable")
    real = _one_step(model, rows, places)
    shuffled = _shuffled(model, rows, places, rows.action[places[order]])
    thresholds = _thresholds(model, Transitions(calibration))
    voices = range(len(real.errors))
    figures = [
        Figures(
            errors=_open_loop(model, rows, voice, horizons, starts, real.errors[voice]),
            action_sensitivity=_sensitivity(real.errors[voice], shuffled[voice]),
            **_outcomes(rows, places, real.words[voice], thresholds[voice]),
        )
        for voice in voices
    ]
    errors = real.errors[-1]
    return ReportCard(
        episodes=sum(len(episode.action) > 0 for episode in episodes),
        rows=len(places),
        changed_share=ratio(errors.changed.sum(), errors.pixels * len(places)),
        few_share=float((errors.changed < FEW_PIXELS).mean()),
        rewarded=int((rows.reward[places] != 0).sum()),
        ended=int(rows.terminated[places].sum()),
        ensemble=figures[-1],
        members=figures[:-1],
        elites=list(model.elites),
        decided=_decided(model, rows, places, [real.words[m] for m in model.elites]),
        disagreement=_disagreement(real.disagreement, errors),
    )


class _OneStep(NamedTuple):
    """Of every voice, the members' and last the ensemble's: errors and words (no frames) on N rows."""

    errors: list[PixelErrors]
    words: list[Word]
    disagreement: NDArray[np.float64]


def _one_step(model: WorldModel, rows: Transitions, places: Ids) -> _OneStep:
    errors, words, disagreements = [], [], []
    for here, said in _said(model, rows, places, rows.action[places]):
        errors.append(_errors(rows, here, said))
        words.append(_outcomes_alone(said))
        disagreements.append(_doubt(rows.frames[here], said[:-1]))
    return _OneStep(_joined(errors), _all_rows(words), np.concatenate(disagreements))


def _shuffled(model: WorldModel, rows: Transitions, places: Ids, action: Ids) -> list[PixelErrors]:
    """Every voice's errors where other actions than those that were taken are believed."""
    return _joined([_errors(rows, here, said) for here, said in _said(model, rows, places, action)])


def _said(model: WorldModel, rows: Transitions, places: Ids, action: Ids) -> Iterator[tuple[Ids, list[Word]]]:
    """(places, every voice's word there), a few hundred places at a time."""
    for part in _parts(len(places)):
        here = places[part]
        yield here, predict_all(model, rows.contexts(here, model.config.context), action[part])


def _errors(rows: Transitions, places: Ids, said: Sequence[Word]) -> list[PixelErrors]:
    newest, target = rows.frames[places], rows.frames[places + 1]
    return [pixel_errors(newest, target, word.frame) for word in said]


def _joined(errors: Sequence[Sequence[PixelErrors]]) -> list[PixelErrors]:
    return [join_errors(column) for column in zip(*errors, strict=True)]


def _outcomes_alone(said: Sequence[Word]) -> list[Word]:
    return [word._replace(frame=word.frame[:0]) for word in said]


def _all_rows(words: Sequence[Sequence[Word]]) -> list[Word]:
    return [Word(*map(np.concatenate, zip(*column, strict=True))) for column in zip(*words, strict=True)]


def _doubt(newest: NDArray[np.uint8], members: Sequence[Word]) -> NDArray[np.float64]:
    """The disagreement of all members, of a batch: f64 [B]; rollouts ask the elites alone."""
    frames, probs = (
        np.stack([getattr(word, name) for word in members]) for name in ("frame", "reward_probs")
    )
    doubt = disagreement(*(torch.from_numpy(x) for x in (newest, frames, probs)))
    return doubt.numpy().astype(np.float64)


def _open_loop(
    model: WorldModel,
    rows: Transitions,
    voice: int,
    horizons: Sequence[int],
    starts: int,
    one_step: PixelErrors,
) -> dict[int, dict[str, float]]:
    """Errors by horizon of a voice that sees its own frames; at one step those of all rows."""
    parts: dict[int, list[PixelErrors]] = {horizon: [] for horizon in horizons if horizon > 1}
    begin = rows.spread(starts)
    for chunk in _parts(len(begin)):
        for horizon, errors in _branches(model, rows, begin[chunk], voice, max(horizons)):
            if horizon in parts:
                parts[horizon].append(errors)
    joined = {1: one_step} | {horizon: join_errors(found) for horizon, found in parts.items() if found}
    return {horizon: {"rows": len(e.changed)} | e.pooled() for horizon, e in joined.items()}


def _branches(
    model: WorldModel, rows: Transitions, start: Ids, voice: int, horizon: int
) -> Iterator[tuple[int, PixelErrors]]:
    """(step, errors) of the branches with the logged actions, those whose episode lasts so long."""
    say = voice_of(model, voice)
    context = rows.contexts(start, model.config.context)
    for step in range(1, horizon + 1):
        lasts = rows.left[start] >= step
        start, context = start[lasts], context[lasts]
        if not len(start):
            return
        frame = say(context, rows.action[start + step - 1]).frame
        yield step, pixel_errors(rows.frames[start], rows.frames[start + step], frame)
        context = np.concatenate([context[:, 1:], frame[:, None]], axis=1)


def _thresholds(model: WorldModel, rows: Transitions) -> list[tuple[float, float]]:
    """For every voice the thresholds of reward and end with the best F1 on these rows."""
    places = rows.places()
    rewarded, ended = rows.reward[places] != 0, rows.terminated[places]
    said = _all_rows([_outcomes_alone(said) for _, said in _said(model, rows, places, rows.action[places])])
    return [
        (
            best_threshold(1.0 - word.reward_probs[:, 1], rewarded, 0.5),
            best_threshold(word.end_prob, ended, 0.5),
        )
        for word in said
    ]


def _outcomes(
    rows: Transitions, places: Ids, word: Word, thresholds: tuple[float, float]
) -> dict[str, dict[str, float]]:
    """The figures of reward and end."""
    figures = _decisions(rows, places, word, thresholds)
    scores = (1.0 - word.reward_probs[:, 1], word.end_prob)
    happened = (rows.reward[places] != 0, rows.terminated[places])
    for name, score, actual, threshold in zip(figures, scores, happened, thresholds, strict=True):
        figures[name] |= {"pr_auc": average_precision(score, actual), "threshold": threshold}
    return figures


def _decisions(
    rows: Transitions, places: Ids, word: Word, thresholds: tuple[float, float]
) -> dict[str, dict[str, float]]:
    """`precision_recall_f1` of `reward` and of `end`."""
    ends = (word.end_prob > thresholds[1]).astype(np.float32)
    return {
        "reward": precision_recall_f1(
            reward_signs(word.reward_probs, thresholds[0]), np.sign(rows.reward[places])
        ),
        "end": precision_recall_f1(ends, rows.terminated[places].astype(np.float32)),
    }


def _decided(
    model: WorldModel, rows: Transitions, places: Ids, elites: Sequence[Word]
) -> dict[str, dict[str, float]]:
    """Means over the elites of what they decide in rollouts; see `ReportCard`."""
    thresholds = (model.reward_threshold, model.end_threshold)
    each = [_decisions(rows, places, word, thresholds) for word in elites]
    means = {
        name: {key: float(np.mean([figures[name][key] for figures in each])) for key in each[0][name]}
        for name in each[0]
    }
    goes_on = ~rows.terminated[places]
    false = [ratio((word.end_prob[goes_on] > thresholds[1]).sum(), goes_on.sum()) for word in elites]
    means["end"]["false"] = float(np.mean(false))
    return means


def _sensitivity(real: PixelErrors, shuffled: PixelErrors) -> dict[str, float]:
    few = real.changed < FEW_PIXELS
    found = {}
    for suffix, where in (("", np.ones_like(few)), ("_few", few)):
        error, other = real.pooled(where), shuffled.pooled(where)
        for name in ("changed", "frame"):
            found[name + suffix] = ratio(other[f"{name}_error"], error[f"{name}_error"])
    return found


def _disagreement(disagreements: NDArray[np.float64], errors: PixelErrors) -> dict[str, float]:
    some = errors.changed > 0
    by_pixel = errors.changed_error[some] / errors.changed[some]
    return {
        "frame": rank_correlation(disagreements, errors.frame_error.astype(np.float64)),
        "changed": rank_correlation(disagreements[some], by_pixel) if some.any() else math.nan,
    }


def _parts(count: int) -> Iterator[slice]:
    return (slice(begin, begin + CHUNK) for begin in range(0, count, CHUNK))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
