"""The page that compares runs: arms, figures, what is left out, what is refused."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mbpo_fast.config import load_config, resolved_yaml
from mbpo_fast.errors import UsageError
from mbpo_fast.training.reports import write_comparison
from mbpo_fast.training.reports.arms import read_arms, text_of
from mbpo_fast.training.reports.html import PAGE_BYTES
from mbpo_fast.training.reports.thresholds import default_thresholds


def make_run(
    folder: Path, slope: float = 100.0, steps: int = 3, final: float | None = None, **keys: Any
) -> Path:
    """A run whose score is `slope` at step 1,000, twice that at 2,000 and so on."""
    folder.mkdir(parents=True)
    changed = {key.replace("__", "."): str(value) for key, value in keys.items()}
    (folder / "config.yaml").write_text(resolved_yaml(load_config([], {"env.id": "Catch"} | changed)))
    lines = [
        {
            "step": 1000 * i,
            "rollout/ep_rew_mean": slope * i,
            "train/n_updates": 400.0 * i,
            "time/time_elapsed": 30.0 * i,
            "model/changed_error": 27.0,
            "model/changed_error_copy": 30.0,
            "model/changed_error_ratio": 0.9,
            "model/reward_f1": 0.5,
            "model/gate_open": float(i > 1),
            "data/synthetic_share": 0.75,
            "data/synthetic_rows": 300.0 * i,
            "data/real_rows": 100.0 * i,
        }
        for i in range(1, steps + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if final is not None:
        result = {"mean": final, "ci95": [final - 5, final + 5], "episodes": 20, "distinct_games": 17}
        result["protocol"] = f"Catch, whole games, epsilon 0.001, seed {keys.get('seed', 0)}"
        summary = {
            "stopped": "total_steps",
            "agent": result,
            "random": result | {"mean": 50.0, "scores": [50.0] * 20},
        }
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def two_arms(folder: Path) -> list[Path]:
    finals = {0.05: (300.0, 330.0, 360.0), 1: (100.0, 200.0, 300.0)}
    return [
        make_run(folder / f"r{ratio}-s{seed}", score / 3, final=score, seed=seed, training__real_ratio=ratio)
        for ratio, scores in finals.items()
        for seed, score in enumerate(scores)
    ]


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(self.html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def compared(folders: list[Path], output: Path, **options: Any) -> Page:
    path = write_comparison(folders, output, **options)
    assert path == output
    assert path.stat().st_size < PAGE_BYTES
    page = Page(path)
    assert not re.search(r"https?://|url\(|@import|<script|//[a-z]", page.html)
    return page


def test_two_arms_of_three_seeds(tmp_path: Path) -> None:
    page = compared(two_arms(tmp_path), tmp_path / "out.html")
    for words in (
        "2 arms on Catch",
        "6 runs \u00b7 3 seeds each \u00b7 all finished",
        "real_ratio 0.05",
        "real_ratio 1",
        "3 seeds 330.0 306.5 to 353.5 over seeds 60 51",  # 300, 330, 360: 6.5 of 30 from either end
        "0 300.0 295.0 to 305.0 over games 20 17",
        "random actions 3 runs 50.0",
        "Protocol: Catch, whole games, epsilon 0.001;",
        "0.90 of copying, 27.00 levels",
        "opened in 3 of 3 at step 2,000, 2,000, 2,000; open in 3 at the end",
        "75 %",
        "none: learns from real rows only",
        "With 3 seeds an interval is a hint and no proof.",
        "training.real_ratio 0.05 1",
    ):
        assert words in page.text, words
    assert page.links == []
    assert "seed 2: 360" in page.text
    # A line, a band and three thin lines for each arm, in each shape of the first chart.
    first = page.html.split("</svg>")[0]
    assert first.count('class="band') == 2
    assert first.count('polyline class="faint') == 6
    assert first.count("<polyline") == 8
    assert (
        "real_ratio 0.05: 330 raw points of a game, mean of the last training games (306.5 to 353.5)" in first
    )


def test_steps_to_a_score(tmp_path: Path) -> None:
    page = compared(two_arms(tmp_path), tmp_path / "out.html", thresholds=[120.0, 250.0])
    # Scores by step: 100 110 120 | 33 67 100 at 1,000, twice and three times that later.
    assert "120 real_ratio 0.05 3 of 3 2,000 800 60 s 2,000, 2,000, 1,000" in page.text
    assert "real_ratio 1 2 of 3 2,000 800 60 s > 3,000, 2,000, 2,000" in page.text
    assert "250 real_ratio 0.05 3 of 3 3,000 1,200 90 s" in page.text
    assert "real_ratio 1 1 of 3 > 3,000 not reached not reached > 3,000, > 3,000, 3,000" in page.text


def test_default_thresholds_lie_between_random_play_and_the_best_score(tmp_path: Path) -> None:
    assert default_thresholds(read_arms(two_arms(tmp_path))) == [100, 200, 300]
    flat = make_run(tmp_path / "flat", slope=0.0)
    assert default_thresholds(read_arms([flat])) == []
    assert (
        "Steps to a score" not in compared([flat, make_run(tmp_path / "g", 0.0, seed=1)], tmp_path / "o").text
    )


def test_runs_are_grouped_by_what_touches_learning(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "a", seed=2, log__every=500, device="cpu"),
        make_run(tmp_path / "b", agent__gamma=0.9),
        make_run(tmp_path / "c", seed=1, env__workers=1),
    ]
    arms = read_arms(runs)
    assert [(arm.label, [run.config.seed for run in arm.runs]) for arm in arms] == [
        ("gamma 0.99", [1, 2]),
        ("gamma 0.9", [0]),
    ]
    page = compared(runs, tmp_path / "out.html")
    assert "differ in it: device, env.workers, log.every." in page.text
    assert "the arms have different seeds" in page.text
    assert "An arm with one seed has no interval" in page.text


def test_labels(tmp_path: Path) -> None:
    one = make_run(tmp_path / "a")
    two = make_run(tmp_path / "b", agent__gamma=0.9, agent__learning_rate=0.5, model__learning_rate=0.1)
    labels = [arm.label for arm in read_arms([one, two])]
    assert labels[1] == "agent.learning_rate 0.5, gamma 0.9 and 1 more"  # two keys end alike
    assert [arm.mark for arm in read_arms([one, two])] == ["A", "B"]
    for run, name in ((one, "mbpo"), (two, "fast")):
        (run / "summary.json").write_text(json.dumps({"config": name, "stopped": "total_steps"}))
    assert [arm.label for arm in read_arms([one, two])] == ["mbpo", "fast"]
    assert [arm.mark for arm in read_arms([one, two], ["ours", "theirs"])] == ["ours", "theirs"]
    assert [arm.label for arm in read_arms([one])] == ["MBPO"]
    with pytest.raises(UsageError, match=r"--label: expected one for each of 2 arms \(mbpo; fast\), got 1"):
        read_arms([one, two], ["ours"])
    with pytest.raises(UsageError, match="--label: expected different names, got x, x"):
        read_arms([one, two], ["x", "x"])


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    wrong = {
        "nowhere: expected a run folder, found no config.yaml": tmp_path / "nowhere",
        "a: expected each run once, got it twice": tmp_path / "x" / ".." / "a",
        "c: expected metrics, found none yet": make_run(tmp_path / "c", steps=0, seed=1),
        "d: expected another seed than .*a, got the same settings and seed 0": make_run(tmp_path / "d"),
        "e: expected the game of the first run, Catch, got PongNoFrameskip-v4": make_run(
            tmp_path / "e", env__id="PongNoFrameskip-v4"
        ),
    }
    (tmp_path / "x").mkdir()
    for message, folder in wrong.items():
        with pytest.raises(UsageError, match=message):
            write_comparison([run, folder], tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()


def test_videos_stay_within_the_page(tmp_path: Path) -> None:
    runs = two_arms(tmp_path)
    for run in runs:
        (run / "videos").mkdir()
        (run / "videos" / "final.mp4").write_bytes(b"\x00" * 1_500_000)
    page = compared(runs, tmp_path / "out.html")
    assert [link.split(";")[0] for link in page.links if link.startswith("data:")] == ["data:video/mp4"] * 2
    # The first seed of either arm has the first claim.
    assert [link for link in page.links if not link.startswith("data:")] == [
        f"{arm}-s{seed}/videos/final.mp4" for seed in (1, 2) for arm in ("r0.05", "r1")
    ]
    assert page.text.count("Not inside this page, which stays under 5 MB:") == 4


def test_missing_parts_are_left_out(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / str(seed), seed=seed, training__real_ratio=1) for seed in (0, 1)]
    (runs[1] / "metrics.jsonl").write_text('{"step": 500}\n')
    page = compared(runs, tmp_path / "out.html")
    assert "2 not finished" in page.text
    assert "unfinished: 500 of 100,000 steps" in page.text
    for absent in ("Final evaluation", "World model", "Games"):
        assert absent not in page.text
    assert "nan" not in page.html


def test_many_arms_and_names_that_are_html(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"r{i}", 10.0 * i, final=30.0 * i, agent__n_step=i) for i in range(1, 9)]
    labels = [f"<b>{'long name ' * 3}{i}</b>" for i in range(8)]
    page = compared(runs, tmp_path / "out.html", labels=labels)
    assert "<b>long" not in page.html
    assert "H: <b>long name long name long name 7</b>" in page.text
    assert 'class="c2"' in page.html.partition("Score")[2]


def test_values_are_written_as_in_yaml() -> None:
    assert [text_of(value) for value in (None, True, False, 0, 1, 1.0, 2.5e-5, "x")] == [
        *("null", "true", "false", "0", "1", "1", "2.5e-05", "x")
    ]
