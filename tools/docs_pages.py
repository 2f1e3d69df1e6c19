"""Writes the parts of the documentation that come from the code: `python tools/docs_pages.py [--check]`.

`docs/settings.md` comes from the schema and the presets; the tables of `docs/results.md`, the one of the
switches of DDQN, the curves with and without a model and those of fits of a model come from the JSON files
under `results`. With `--check` nothing is written, and the exit code is 1 when a page is out of date.
"""

import html
import itertools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import ablation
import cards

from mbpo_fast.config import SchemaRow, config_schema_rows, preset_names
from mbpo_fast.config.fields import settings_class
from mbpo_fast.config.loader import PRESETS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
RESULTS = ROOT / "results"
BASELINES = ("ddqn_efficient", "ddqn_nature", "ppo", "sac")
"""Folders of `RESULTS`, a file for each seed."""

_SETTINGS_HEAD = """\
<!-- Written by tools/docs_pages.py: change the descriptions in the code, then run it. -->
# Settings

A setting is a key in a YAML file or, joined by dots, an option of `mbpo-fast train`, `mbpo-fast info` and
`mbpo-fast config show`. These three do the same:

```yaml title="mine.yaml"
training:
  real_ratio: 0.25
```

```bash
mbpo-fast config show --config mbpo --config mine.yaml
mbpo-fast config show --config mbpo --training.real_ratio 0.25
mbpo-fast config show --config mbpo --training.real-ratio=0.25
```

Files and presets stack: a later one wins over an earlier one, an option wins over all files. An unknown key,
a wrong type or a value out of range is refused before anything starts, in one line that names the key.
`mbpo-fast config schema` prints this list in a terminal.
"""
_PRESETS_HEAD = """\
## Presets

The presets come with the package; `--config NAME` loads one. A preset sets only what it lists; everything
else keeps its default from the tables above.
"""


def settings_page() -> str:
    """The whole text of `docs/settings.md`."""
    groups: dict[tuple[str, str], list[SchemaRow]] = {}
    for row in config_schema_rows():
        groups.setdefault((row.key.rpartition(".")[0], row.when), []).append(row)
    sections = [_group_section(name, when, rows) for (name, when), rows in groups.items()]
    presets = [_preset_section(name) for name in preset_names()]
    return "\n".join([_SETTINGS_HEAD, *sections, _PRESETS_HEAD, *presets])


def _group_section(name: str, when: str, rows: list[SchemaRow]) -> str:
    title = f"{name}, with `{when.replace(' ', ': ')}`" if when else name or "General"
    lines = [f"## {title}", "", _group_text(name, when), ""]
    lines += ["| key | default | values | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{row.key}` | {_code(row.default)} | {_cell(row.type)} | {_cell(row.description)} |"
        for row in rows
    ]
    return "\n".join([*lines, ""])


def _group_text(name: str, when: str) -> str:
    if not name:
        return "Keys that belong to no group."
    group: Any = settings_class(name, when)
    if group is None:
        return "Which kind: its keys are in the tables below."
    return (group.__doc__ or "").strip().partition("\n")[0]


def _code(text: str) -> str:
    return f"<code>{_cell(text)}</code>"


def _cell(text: str) -> str:
    """Text that stays text inside a table."""
    return html.escape(text, quote=False).replace("|", "&#124;").replace("*", "&#42;").replace("\\", "&#92;")


def _preset_section(name: str) -> str:
    lines = (PRESETS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    size = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    about = " ".join(line.removeprefix("#").strip() for line in lines[:size])
    return "\n".join([f"### {name}", "", about, "", "```yaml", *lines[size:], "```", ""])


def _results(folder: str) -> list[dict[str, Any]]:
    """The results that are kept in a folder, in the order of their seeds."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in (RESULTS / folder).glob("*.json")]
    return sorted(found, key=lambda result: int(result["seed"]))


def quickstart_rows() -> list[str]:
    """One row of a table for each quick start whose result is kept."""
    return [_quickstart_row(result) for result in _results("quickstart")]


def baseline_rows() -> list[str]:
    """One row of a table for each run of a learner without a model."""
    return [_baseline_row(result) for folder in BASELINES for result in _results(folder)]


def _baseline_row(result: Mapping[str, Any]) -> str:
    evaluation = result["evaluation"]
    cells = [
        f"`{result['config']}`",
        ", ".join(f"`{key}` {value}" for key, value in _changed(result["command"])),
        f"{result['env_steps']:,}",
        str(result["seed"]),
        f"{_score(evaluation)}, {evaluation['distinct_games']} distinct games",
    ]
    return f"| {' | '.join(cells)} |"


def _changed(command: str) -> list[tuple[str, str]]:
    """What a command sets over its preset."""
    words = command.split()
    options = itertools.pairwise(words)
    run_only = ("config", "seed", "threads", "run")
    pairs = [(word.removeprefix("--"), value) for word, value in options if word.startswith("--")]
    return [(key, value) for key, value in pairs if key not in run_only]


def engine_rows() -> list[str]:
    """One row for each short run whose rollouts were made by the core or by torch, seed by seed."""
    rows = [
        (result["seed"], engine, result)
        for engine in ("cpu", "torch")
        for result in _results(f"rollout_{engine}")
    ]
    return [_engine_row(engine, result) for _, engine, result in sorted(rows, key=lambda row: row[:2])]


def _engine_row(engine: str, result: Mapping[str, Any]) -> str:
    curve = dict(zip(result["curve"]["step"], result["curve"]["ep_rew_mean"], strict=True))
    at = [next(score for step, score in curve.items() if step >= 1000 * k) for k in (8, 12, 16, 20)]
    cells = [str(result["seed"]), f"`{engine}`", f"{result['gate_opened_at']:,}"]
    cells += [f"{score:.0f}" for score in (*at, list(curve.values())[-1])]
    return f"| {' | '.join([*cells, _score(result['evaluation'])])} |"


def _quickstart_row(result: Mapping[str, Any]) -> str:
    agent, steps = result["agent"], f"{result['env_steps']:,}"
    share = result["synthetic_rows"] / (result["synthetic_rows"] + result["real_rows"])
    opened = result["gate_opened_at"]
    cells = [
        str(result["seed"]),
        f"{_score(agent)}, {agent['distinct_games']} distinct games",
        _score(result["random"]),
        f"{opened:,} of {steps}" if opened is not None else f"never, {steps}",
        f"{share:.0%}".replace("%", " %"),
    ]
    return f"| {' | '.join(cells)} |"


def _score(evaluation: Mapping[str, Any]) -> str:
    low, high = evaluation["ci95"]
    return f"{evaluation['mean']:.1f} ({low:.1f} to {high:.1f})"


def results_page(text: str) -> str:
    """`docs/results.md` with the tables between their markers written anew."""
    quickstart = "| seed | trained agent | random actions | gate opened at step | synthetic rows |"
    baselines = "| preset | changed settings | agent steps | seed | mean score |"
    engines = (
        "| seed | rollouts by | gate opened at | 8,000 | 12,000 | 16,000 | 20,000 | 24,000 | after training |"
    )
    text = _with_table(text, "quickstart", quickstart, quickstart_rows())
    text = _with_table(text, "engines", engines, engine_rows())
    text = _with_table(text, "ablation", ablation.HEADER, ablation.rows(RESULTS / "ablation"))
    for name, (header, rows) in cards.tables(RESULTS / "cards").items():
        text = _with_table(text, name, header, rows)
    return _with_table(text, "baselines", baselines, baseline_rows())


def switches_page(text: str) -> str:
    """`docs/algorithms/ddqn.md` with the table of the switches' effects written anew."""
    found = json.loads((RESULTS / "ddqn_switches.json").read_text(encoding="utf-8"))
    rows = [_switch_row(name, arm["runs"]) for name, arm in found["arms"].items()]
    return _with_table(text, "switches", "| switch | steps of each seed | mean | updates |", rows)


def _switch_row(name: str, runs: list[Mapping[str, Any]]) -> str:
    steps = [f"{'' if run['reached'] else 'more than '}{run['env_steps']:,}" for run in runs]
    mean, updates = (fmean(run[key] for run in runs) for key in ("env_steps", "gradient_steps"))
    return f"| {name} | {', '.join(steps)} | {mean:,.0f} | {updates:,.0f} |"


def _with_table(text: str, name: str, header: str, rows: list[str]) -> str:
    begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
    before, marker, rest = text.partition(begin)
    _, closing, after = rest.partition(end)
    if not marker or not closing:
        raise SystemExit(f"docs: expected the markers of the table {name}")
    rule = "|---" * (header.count("|") - 1) + "|"
    return before + begin + "\n".join([header, rule, *rows]) + "\n" + end + after


def pages() -> dict[Path, str]:
    """Every page that this file writes, with its text as it should be."""
    results, ddqn = DOCS / "results.md", DOCS / "algorithms" / "ddqn.md"
    return {
        DOCS / "settings.md": settings_page(),
        results: results_page(results.read_text(encoding="utf-8")),
        ddqn: switches_page(ddqn.read_text(encoding="utf-8")),
        DOCS / "images" / "ablation.svg": ablation.curves_svg(RESULTS / "ablation"),
    } | {DOCS / "images" / f"{name}.svg": text for name, text in cards.curves(RESULTS / "cards").items()}


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` name those that are out of date."""
    check = arguments == ["--check"]
    stale = []
    for path, text in pages().items():
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(path)
        elif not check:
            path.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{path.relative_to(ROOT)}: out of date; run python tools/docs_pages.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
