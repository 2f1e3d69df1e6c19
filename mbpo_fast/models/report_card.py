"""The report card: a world model judged on whole games that it has never seen."""

import math
from collections.abc import Callable, Iterator, Sequence
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
from mbpo_fast.ops import Stream, random_uniform

HORIZONS = (1, 5, 10, 15)
"""Open-loop steps after which frames are compared."""
FEW_PIXELS = 200
"""Steps in which fewer pixels change are those that the action, and not the game's own march, decides."""
CHUNK = 256
Context = NDArray[np.uint8]


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
    disagreement: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text for JSON; None for NaN."""
        content: dict[str, Any] = _plain(asdict(self))
        return content


class Word(NamedTuple):
    """A prediction: frame u8 [B, h, w], reward classes f32 [B, 3], end f32 [B]."""

    frame: NDArray[np.uint8]
    reward_probs: NDArray[np.float32]
    end_prob: NDArray[np.float32]


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
    real = _one_step(model, rows, places, rows.action[places])
    other = _one_step(model, rows, places, rows.action[places[order]])
    thresholds = _thresholds(model, Transitions(calibration))
    voices = range(len(real.errors))
    figures = [
        Figures(
            errors=_open_loop(model, rows, voice, horizons, starts, real.errors[voice]),
            action_sensitivity=_sensitivity(real.errors[voice], other.errors[voice]),
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
        disagreement=_disagreement(real.disagreement, errors),
    )


def predict_all(model: WorldModel, context: Context, action: Ids) -> list[Word]:
    """The word of every member and, last, of the ensemble on context u8 [B, C, h, w], action i64 [B]."""
    words = _predict(model, context, action, range(model.config.ensemble_size))
    return [*words, mean_word([words[m] for m in model.elites])]


def mean_word(words: Sequence[Word]) -> Word:
    """The mean of several predictions, its frame rounded."""
    frame = np.rint(np.mean([word.frame for word in words], axis=0, dtype=np.float32)).astype(np.uint8)
    reward, end = (np.mean(column, axis=0) for column in list(zip(*words, strict=True))[1:])
    return Word(frame, reward, end)


def ensemble_word(model: WorldModel, context: Context, action: Ids) -> Word:
    """The ensemble's word alone: `predict_all` without the members that are no elites."""
    return mean_word(_predict(model, context, action, model.elites))


def _predict(model: WorldModel, context: Context, action: Ids, members: Sequence[int]) -> list[Word]:
    frames, actions = (torch.from_numpy(x).to(model.device) for x in (context, action))
    said = model.each(lambda m: model.predict(frames, actions, m), members)
    return [
        Word(frame.cpu().numpy(), reward.float().cpu().numpy(), end.float().cpu().numpy())
        for frame, reward, end in said
    ]


class _OneStep(NamedTuple):
    """Of every voice, the members' and last the ensemble's: errors and words (no frames) on N rows."""

    errors: list[PixelErrors]
    words: list[Word]
    disagreement: NDArray[np.float64]


def _one_step(model: WorldModel, rows: Transitions, places: Ids, action: Ids) -> _OneStep:
    errors: list[list[PixelErrors]] = []
    words: list[list[Word]] = []
    disagreements = []
    for part in _parts(len(places)):
        here = places[part]
        said = predict_all(model, rows.contexts(here, model.config.context), action[part])
        newest, target = rows.frames[here], rows.frames[here + 1]
        errors.append([pixel_errors(newest, target, word.frame) for word in said])
        words.append([word._replace(frame=word.frame[:0]) for word in said])
        disagreements.append(_doubt(newest, said[:-1]))
    return _OneStep(
        [join_errors(column) for column in zip(*errors, strict=True)],
        [Word(*map(np.concatenate, zip(*column, strict=True))) for column in zip(*words, strict=True)],
        np.concatenate(disagreements),
    )


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
    say = _voice(model, voice)
    context = rows.contexts(start, model.config.context)
    for step in range(1, horizon + 1):
        lasts = rows.left[start] >= step
        start, context = start[lasts], context[lasts]
        if not len(start):
            return
        frame = say(context, rows.action[start + step - 1]).frame
        yield step, pixel_errors(rows.frames[start], rows.frames[start + step], frame)
        context = np.concatenate([context[:, 1:], frame[:, None]], axis=1)


def _voice(model: WorldModel, voice: int) -> Callable[[Context, Ids], Word]:
    if voice == model.config.ensemble_size:
        return lambda context, action: ensemble_word(model, context, action)
    return lambda context, action: _predict(model, context, action, [voice])[0]


def _thresholds(model: WorldModel, rows: Transitions) -> list[tuple[float, float]]:
    """For every voice the thresholds of reward and end with the best F1 on these rows."""
    places = rows.places()
    rewarded, ended = rows.reward[places] != 0, rows.terminated[places]
    said = _one_step(model, rows, places, rows.action[places])
    return [
        (
            best_threshold(1.0 - word.reward_probs[:, 1], rewarded, 0.5),
            best_threshold(word.end_prob, ended, 0.5),
        )
        for word in said.words
    ]


def _outcomes(
    rows: Transitions, places: Ids, word: Word, thresholds: tuple[float, float]
) -> dict[str, dict[str, float]]:
    """The figures of reward and end."""
    reward, ended = np.sign(rows.reward[places]), rows.terminated[places]
    signs = reward_signs(word.reward_probs, thresholds[0])
    ends = (word.end_prob > thresholds[1]).astype(np.float32)
    return {
        "reward": precision_recall_f1(signs, reward)
        | {
            "pr_auc": average_precision(1.0 - word.reward_probs[:, 1], reward != 0),
            "threshold": thresholds[0],
        },
        "end": precision_recall_f1(ends, ended.astype(np.float32))
        | {"pr_auc": average_precision(word.end_prob, ended), "threshold": thresholds[1]},
    }


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
