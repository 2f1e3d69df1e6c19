"""The report: self-contained, well-formed, true to the run's files, at every stage of a run."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbpo_fast.config import load_config, resolved_yaml
from mbpo_fast.errors import UsageError
from mbpo_fast.training.reports import write_report
from mbpo_fast.training.reports.bars import histogram_svg
from mbpo_fast.training.reports.lines import Chart, Series, chart_svg
from mbpo_fast.training.reports.svg import number, ticks

AGENT = {
    "episodes": 4,
    "mean": 412.44,
    "std": 9.0,
    "ci95": [391.2, 434.8],
    "median": 400.0,
    "min": 200.0,
    "max": 600.0,
    "scores": [200.0, 400.0, 450.0, 600.0],
    "lengths": [500] * 4,
    "distinct_games": 3,
    "protocol": "whole games, epsilon 0.001",
}
SUMMARY = {
    "env_id": "Catch",
    "algorithm": "mbpo",
    "seed": 0,
    "env_steps": 3000,
    "frames": 12000,
    "gradient_steps": 2500,
    "stopped": "early_stopping",
    "wall_seconds": 125.0,
    "synthetic_rows": 300,
    "real_rows": 100,
    "gate_opened_at": 2000,
    "gate_verdict": "open",
    "agent": AGENT,
    "random": AGENT | {"mean": 200.0, "ci95": [150.0, 250.0]},
    "machine": {"processor": "a <fast> one", "cores": 2},
}


def make_run(folder: Path, steps: int = 3, summary: dict[str, Any] | None = None, **keys: str) -> Path:
    folder.mkdir(parents=True)
    config = load_config([], {"env.id": "Catch", **{k.replace("__", "."): v for k, v in keys.items()}})
    (folder / "config.yaml").write_text(resolved_yaml(config))
    with (folder / "metrics.jsonl").open("w") as file:
        for i in range(1, steps + 1):
            metrics = {
                "rollout/ep_rew_mean": 100.0 * i,
                "train/loss": 0.5 / i,
                "model/changed_error": 25.5 - i,
                "model/changed_error_copy": 30.0,
                "model/frame_error": None,
                "model/gate_open": float(i >= 2),
                "data/synthetic_share": 0.75,
                "data/synthetic_rows": 30.0,
                "data/real_rows": 10.0,
                "time/fps": 40.0 + i,
                "time/time_elapsed": 10.0 * i,
                "time/phase_act": 3.0,
                "time/phase_update": 7.0,
            }
            file.write(json.dumps({"step": 1000 * i, **metrics}) + "\n")
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


class Page(HTMLParser):
    """Checks nesting and collects text, tags and every place that could reach the network."""

    VOID = frozenset(["meta", "img", "br"])

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def page(run: Path) -> Page:
    path = write_report(run)
    assert path == run / "report.html"
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import|<script", text)
    assert not list(run.glob(".tmp*"))
    return Page(text)


def test_a_finished_run(tmp_path: Path) -> None:
    found = page(make_run(tmp_path / "r", summary=SUMMARY, seed="7"))
    for words in (
        "MBPO on Catch",
        "reached its target score",
        "412.4",
        "95 % interval 391.2 to 434.8",
        "4 games, 3 distinct",
        "2.1 times random",
        "150.0 to 250.0",
        "3,000",
        "12,000 frames",
        "2 min",
        "75%",
        "gate opened at step 2,000",
        "whole games, epsilon 0.001",
        "act",
        "9 s, 30%",
        "a <fast> one",
        "real_ratio: 0.05",
    ):
        assert words in found.text, words
    assert "changed pixels: 22.5" not in found.text
    assert "copy of the last frame: 30 gray levels, held out, step 3,000" in found.text
    assert found.tags.count("svg") == 6  # score, games, model error, synthetic rows, loss, speed
    assert re.search(r"seed\s+7\s+0", found.text)  # differs from the default
    assert found.links == []


def test_an_unfinished_run(tmp_path: Path) -> None:
    found = page(make_run(tmp_path / "r", steps=2))
    assert "unfinished: 2,000 of 100,000 steps" in found.text
    assert "Score so far" in found.text
    assert "200.0" in found.text


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    assert "unfinished: 1,000 of" in page(make_run(tmp_path / "r", steps=1)).text


def test_a_run_so_short_that_it_logged_nothing(tmp_path: Path) -> None:
    found = page(make_run(tmp_path / "r", steps=0, summary=SUMMARY))
    assert "412.4" in found.text
    (tmp_path / "r" / "summary.json").unlink()
    with pytest.raises(UsageError, match="r: expected metrics, found none yet"):
        write_report(tmp_path / "r")
    (tmp_path / "r" / "metrics.jsonl").unlink()
    with pytest.raises(UsageError, match="r: expected metrics, found none yet"):
        write_report(tmp_path / "r")


def test_steps_to_a_score(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r")
    text = Page(write_report(run, thresholds=[150.0, 1000.0]).read_text(encoding="utf-8")).text
    assert re.search(r"150\s+2,000\s+0\s+20 s\s", text)
    assert re.search(r"1000\s+> 3,000\s+not reached\s+not reached", text)


def test_a_run_without_a_model_shows_none(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r", steps=0, summary=SUMMARY, training__real_ratio="1")
    (run / "summary.json").write_text(json.dumps(SUMMARY | {"algorithm": "ddqn"}))
    found = page(run)
    assert "DDQN on Catch" in found.text
    assert "no model" in found.text
    assert "World model" not in found.text


def test_the_gate_is_shaded_while_open(tmp_path: Path) -> None:
    text = write_report(make_run(tmp_path / "r")).read_text(encoding="utf-8")
    # Open from step 2000 to 3000 of 0 to 3000: the last third of the picture.
    assert re.findall(r'class="shade" x="([\d.]+)" y="10" width="([\d.]+)"', text) == [("270.0", "112.0")]


@pytest.mark.parametrize(("name", "tag"), [("final.mp4", "video"), ("final.gif", "img")])
def test_a_small_video_is_inside_and_a_large_one_linked(tmp_path: Path, name: str, tag: str) -> None:
    run = make_run(tmp_path / "r")
    (run / "videos").mkdir()
    (run / "videos" / "notes.txt").write_text("no video")
    (run / "videos" / name).write_bytes(b"\x00" * 100)
    found = page(run)
    assert tag in found.tags
    assert len(found.links) == 1
    assert found.links[0].startswith("data:")
    (run / "videos" / name).write_bytes(b"\x00" * 4_000_000)
    assert page(run).links == [f"videos/{name}"]
    elsewhere = write_report(run, tmp_path / "other.html")
    assert Page(elsewhere.read_text(encoding="utf-8")).links == [f"r/videos/{name}"]


def test_names_are_escaped(tmp_path: Path) -> None:
    run = make_run(tmp_path / "<script>alert(1)</script>".replace("/", "_"), env__id="'<img src=x>'")
    found = page(run)
    assert "img" not in found.tags
    assert "<img src=x>" in found.text


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a run folder"):
        write_report(tmp_path / "nowhere")
    run = make_run(tmp_path / "r")
    (run / "summary.json").write_text("{")
    with pytest.raises(UsageError, match=r"summary\.json: not JSON"):
        write_report(run)


finite = st.floats(-1e9, 1e9, allow_nan=False)


@settings(deadline=None, max_examples=60)
@given(st.lists(finite, min_size=1, max_size=30), st.booleans())
def test_every_series_can_be_drawn(values: list[float], from_zero: bool) -> None:
    points = [(1000 * i, value) for i, value in enumerate(values)]
    svg = chart_svg(Chart("t", "u", [Series("s", points)], from_zero=from_zero))
    drawn = [(float(x), float(y)) for x, y in re.findall(r'cx="([-\d.]+)" cy="([-\d.]+)"', svg)]
    assert len(drawn) == len(values)
    assert all(46 <= x <= 382 and 9.9 <= y <= 186.1 for x, y in drawn)
    assert 2 <= svg.count('class="y"') <= 9
    assert "nan" not in svg + histogram_svg("t", "u", [("g", values)])


def test_many_points_are_averaged() -> None:
    svg = chart_svg(Chart("t", "u", [Series("s", [(i, i % 2) for i in range(1000)])]))
    assert svg.count("<circle") == 200
    assert "s: 0.4 u, step 4" in svg


def test_the_histogram_counts_every_game_once() -> None:
    svg = histogram_svg("t", "u", [("agent", [0, 5, 5, 10]), ("random", [10.0])])
    counts = re.findall(r"(agent|random): (\d+) games", svg)
    assert sorted(counts) == [("agent", "1"), ("agent", "1"), ("agent", "2"), ("random", "1")]
    assert histogram_svg("t", "u", []) == ""
    assert "4 games" in histogram_svg("t", "u", [("agent", [3.0] * 4)])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (40, "40"),
        (9999, "9999"),
        (12_000, "12k"),
        (1.5e6, "1.5M"),
        (3e-5, "3e-5"),
        (0.0004, "0.0004"),
        (-20000, "-20k"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_ticks_are_round() -> None:
    assert ticks(0, 100, 4) == [0, 25, 50, 75, 100]
    assert ticks(0, 7, 4) == [0, 2, 4, 6, 8]
    assert ticks(-0.3, 0.9, 4) == pytest.approx([-0.5, 0, 0.5, 1.0])
