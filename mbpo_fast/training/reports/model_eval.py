"""The page of a report card: figures, curves over the horizon, tables of all members."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from mbpo_fast import __version__
from mbpo_fast.training.reports.html import (
    DOT,
    PAGE_BYTES,
    cards,
    header,
    note,
    row,
    section,
    table,
    tiles,
    write_page,
)
from mbpo_fast.training.reports.lines import Chart, Series, chart_svg
from mbpo_fast.training.reports.svg import Points, number
from mbpo_fast.training.reports.videos import video_figure

Figures = Mapping[str, Any]
_NOTHING = "\u2013"
_PLACES = (("changed", "changed pixels"), ("frame", "whole frame"))
_ERROR_HEAD = ["", "steps", "rows", *("error", "copy", "share") * 2]
_OUTCOME_HEAD = ["", *("precision", "recall", "F1", "PR-AUC", "threshold") * 2, "shuffled", "few pixels"]


def write_model_page(result: Mapping[str, Any], output: Path) -> Path:
    """Write the page of a result of `evaluate_model`; returns the file."""
    card = result["card"]
    parts = [
        header(f"Report card: {result['env_id']}", _model_line(result)),
        _tiles(card),
        note(f"Judged on {result['protocol']}; {card['rows']:,} steps."),
        f"<section>{cards([_error_chart(card, *place) for place in _PLACES])}</section>",
        _video(result, output),
        section("Errors in gray levels", _error_table(card)),
        section("Decisions and actions", _outcome_table(card), note(_decided(card))),
        _footer(result),
    ]
    return write_page(output, f"Report card: {result['env_id']}", "\n".join(parts))


def _model_line(result: Mapping[str, Any]) -> str:
    model = result["model"]
    facts = [model["arch"], f"{model['members']} members", f"{model['gradient_steps']:,} updates"]
    return DOT.join([*facts, f"seed {model['run_seed']}", f"step {model['env_steps']:,}"])


def _tiles(card: Mapping[str, Any]) -> str:
    ensemble, few = card["ensemble"], card["ensemble"]["action_sensitivity"]
    first = ensemble["errors"]["1"]
    return tiles(
        [
            ("Changed pixels", _text(first["changed_error_ratio"]), "of copy's error, one step"),
            ("Whole frame", _text(first["frame_error_ratio"]), "of copy's error, one step"),
            ("Reward F1", _text(ensemble["reward"]["f1"]), f"{card['rewarded']:,} rewards"),
            ("End PR-AUC", _text(ensemble["end"]["pr_auc"]), f"{card['ended']:,} ends"),
            ("Shuffled actions", _text(few["changed_few"]), "times the error, few pixels change"),
            ("Disagreement", _text(card["disagreement"]["frame"]), "rank correlation with the error"),
        ]
    )


def _error_chart(card: Mapping[str, Any], name: str, title: str) -> str:
    def points(figures: Figures, key: str) -> Points:
        errors = figures["errors"].items()
        return [(float(steps), e[key]) for steps, e in errors if e[key] is not None]

    members = [
        Series(f"member {m}", points(figures, f"{name}_error"), faint=True, paint=1)
        for m, figures in enumerate(card["members"])
    ]
    series = [
        Series("ensemble", points(card["ensemble"], f"{name}_error"), paint=1),
        Series("copy of the last frame", points(card["ensemble"], f"{name}_error_copy"), paint=2),
        *members,
    ]
    return chart_svg(Chart(f"Error, {title}", "gray levels", series, x_name="open-loop steps"))


def _video(result: Mapping[str, Any], output: Path) -> str:
    if "video" not in result:
        return ""
    caption = "real, imagined, difference, disagreement"
    figure = video_figure(
        Path(result["video"]), "Imagined", caption, output.parent, PAGE_BYTES // 2, autoplay=True
    )
    return f"<section>{cards([figure])}</section>"


def _voices(card: Mapping[str, Any]) -> list[tuple[str, Figures]]:
    elites = card["elites"]
    members = enumerate(card["members"])
    named = [(f"member {m}{', elite' if m in elites else ''}", figures) for m, figures in members]
    return [("ensemble", card["ensemble"]), *named]


def _error_table(card: Mapping[str, Any]) -> str:
    rows = []
    for name, figures in _voices(card):
        for index, (steps, errors) in enumerate(figures["errors"].items()):
            keys = (f"{place}_error{end}" for place, _ in _PLACES for end in ("", "_copy", "_ratio"))
            cells = [
                "" if index else name,
                steps,
                f"{errors['rows']:,}",
                *(_text(errors[key]) for key in keys),
            ]
            rows.append(row(cells, "" if index else "group"))
    about = "Changed pixels first, then the whole frame; copy is the error of copying the last frame."
    return table(_ERROR_HEAD, rows) + note(about)


def _outcome_table(card: Mapping[str, Any]) -> str:
    keys = ("precision", "recall", "f1", "pr_auc", "threshold")
    rows = []
    for name, figures in _voices(card):
        outcomes = [_text(figures[of][key]) for of in ("reward", "end") for key in keys]
        sensitivity = [_text(figures["action_sensitivity"][key]) for key in ("changed", "changed_few")]
        rows.append(row([name, *outcomes, *sensitivity]))
    return table(_OUTCOME_HEAD, rows) + note("The reward first, then the end.")


def _decided(card: Mapping[str, Any]) -> str:
    reward, end = card["decided"]["reward"], card["decided"]["end"]
    return (
        "In a rollout, where one elite decides by the model's own thresholds, "
        f"rewards have an F1 of {_text(reward['f1'])} and ends of {_text(end['f1'])}; "
        f"{_text(end['false'])} of the steps that go on are taken for an end."
    )


def _text(value: float | None) -> str:
    return _NOTHING if value is None else number(round(value, 3))


def _footer(result: Mapping[str, Any]) -> str:
    facts = [f"mbpo_fast {__version__}", *(f"{name} {value}" for name, value in result["machine"].items())]
    return f"<footer>{escape(DOT.join(facts))}</footer>"
