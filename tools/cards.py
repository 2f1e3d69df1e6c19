"""World models' report cards: the tables and curves of docs/results.md, from files under `results/cards`."""

import json
import operator
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from standalone_svg import standalone_svg

from mbpo_fast.training.reports.lines import Chart, Series

Card = Mapping[str, Any]
REFERENCE = "SpaceInvaders"
"""The game that has the first table, and in it every architecture, for itself."""
CURVES = {
    "card-changed": ("error on changed pixels", "share of a copied frame's", "changed_error_ratio"),
    "card-reward": ("rewards found", "F1 on held-out steps", "reward_f1"),
}
"""Picture -> its title, its unit, and the key of a fit's curve."""


GOAL = 0.7
"""Of both curves, on the reference task."""


class Goal(NamedTuple):
    """What a figure should reach; `always`: for every game, else for the reference task alone."""

    text: str
    holds: Callable[[float, float], bool]
    limit: float
    always: bool = False


class Figure(NamedTuple):
    """A row of the table."""

    name: str
    goal: Goal | None
    of: Callable[[Card], float | None]
    whole: bool = False
    """Of the card as a whole; else of the ensemble and of each member."""


def _of(*keys: str) -> Callable[[Card], float | None]:
    def value(card: Card) -> float | None:
        found: Any = card
        for key in keys:
            found = None if found is None else found.get(key)
        return None if found is None else float(found)

    return value


def _error(kind: str, horizon: str) -> Callable[[Card], float | None]:
    return _of("errors", horizon, f"{kind}_error_ratio")


_BELOW_COPY = Goal("below 1", operator.lt, 1.0, always=True)
FIGURES = (
    Figure("changed pixels, 1 step", Goal("at most 0.7", operator.le, GOAL), _error("changed", "1")),
    Figure("changed pixels, 5 steps", _BELOW_COPY, _error("changed", "5")),
    Figure("changed pixels, 10 steps", None, _error("changed", "10")),
    Figure("whole frame, 1 step", _BELOW_COPY, _error("frame", "1")),
    Figure("whole frame, 5 steps", _BELOW_COPY, _error("frame", "5")),
    Figure("reward F1", Goal("at least 0.7", operator.ge, GOAL), _of("reward", "f1")),
    Figure("reward precision", None, _of("reward", "precision")),
    Figure("reward recall", None, _of("reward", "recall")),
    Figure("end PR-AUC", Goal("at least 0.6", operator.ge, 0.6), _of("end", "pr_auc")),
    Figure(
        "shuffled actions, few changes, changed pixels",
        Goal("at least 1.2", operator.ge, 1.2),
        _of("action_sensitivity", "changed_few"),
    ),
    Figure(
        "the same, whole frame",
        Goal("at least 1.2", operator.ge, 1.2),
        _of("action_sensitivity", "frame_few"),
    ),
    Figure("reward F1 of what rollouts decide", None, _of("decided", "reward", "f1"), whole=True),
    Figure(
        "disagreement against error, whole frame",
        Goal("at least 0.4", operator.ge, 0.4),
        _of("disagreement", "frame"),
        whole=True,
    ),
    Figure("the same, changed pixels", None, _of("disagreement", "changed"), whole=True),
)
EVERY_GAMES_FIGURES = (
    FIGURES[0]._replace(goal=_BELOW_COPY),
    *(row if row.goal and row.goal.always else row._replace(goal=None) for row in FIGURES[1:]),
)
"""Without the goals of the reference task; its first one is that of any game there."""

COSTS: Mapping[str, Callable[[Card], float]] = {
    "members": lambda card: card["model"]["members"],
    "updates": lambda card: card["model"]["gradient_steps"],
    "CPU minutes": lambda card: card["training"]["cpu_minutes"],
}


def tables(results: Path) -> dict[str, tuple[str, list[str]]]:
    """Tables by name, a header and rows each: a row for each figure, a column for each card."""
    cards = _cards(results)
    return {
        "cards": _table([card for card in cards if _is_reference(card)], FIGURES),
        "cards_elsewhere": _table([card for card in cards if not _is_reference(card)], EVERY_GAMES_FIGURES),
    }


def _table(cards: list[Card], figures: Iterable[Figure]) -> tuple[str, list[str]]:
    rows = [
        [row.name, row.goal.text if row.goal else "", *(_cell(row, card) for card in cards)]
        for row in figures
    ]
    rows += [[name, "", *(f"{of(card):,.0f}" for card in cards)] for name, of in COSTS.items()]
    return _line(["figure", "goal", *map(_title, cards)]), [_line(cells) for cells in rows]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cards(results: Path) -> list[Card]:
    """The cards of the folder, those of the reference task first."""
    cards = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))]
    return sorted(cards, key=lambda card: not _is_reference(card))


def _is_reference(card: Card) -> bool:
    return str(card["env_id"]).startswith(REFERENCE)


def _kind(card: Card) -> str:
    """The architecture, and the game where it is not the reference task."""
    game = "" if _is_reference(card) else f"{card['env_id'].partition('NoFrameskip')[0]}, "
    return f"{game}`{card['model']['arch']}`"


def _title(card: Card) -> str:
    return f"{_kind(card)}, seed {card['model']['run_seed']}"


def _cell(row: Figure, card: Card) -> str:
    """The figure, bold where it misses its goal, and the range of the members'."""
    judged = card["card"]
    value = row.of(judged if row.whole else judged["ensemble"])
    if value is None:
        return "-"
    # Neither the figure nor what is shown of it may miss: rounding makes no goal.
    missed = row.goal and not all(row.goal.holds(x, row.goal.limit) for x in (value, round(value, 3)))
    cell = f"**{value:.3f}**" if missed else f"{value:.3f}"
    members = [] if row.whole else [said for said in map(row.of, judged["members"]) if said is not None]
    return f"{cell} ({min(members):.3f} to {max(members):.3f})" if members else cell


def curves(results: Path) -> dict[str, str]:
    """SVG by picture: held-out figures of every fit over the CPU minutes that it took."""
    cards = _cards(results)
    return {name: _curve(cards, *about) for name, about in CURVES.items()}


def _curve(cards: list[Card], title: str, unit: str, key: str) -> str:
    kinds = list(dict.fromkeys(map(_kind, cards)))
    longest = {_kind(card): card for card in sorted(cards, key=COSTS["CPU minutes"])}
    series = []
    for card in cards:
        points = [(line["cpu_seconds"] / 60, line[key]) for line in card["training"]["curve"] if key in line]
        kind = _kind(card)
        # A colour and one name for all seeds of a kind.
        end = kind.replace("`", "") if card is longest[kind] else ""
        name = _title(card).replace("`", "")
        series.append(Series(name, points, end=end, paint=kinds.index(kind) + 1))
    chart = Chart(title, unit, series, level=("goal", GOAL), x_name="CPU minutes", legend=False)
    return standalone_svg(chart)
