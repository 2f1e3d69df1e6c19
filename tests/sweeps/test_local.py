"""The local engine, with a stand-in for training: done once each, resumed after kill -9, judged, stopped."""

import csv
import io
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mbpo_fast.errors import UsageError
from mbpo_fast.sweeps import local
from mbpo_fast.sweeps.schema import read_sweep
from mbpo_fast.sweeps.view import View

pytest.importorskip("optuna")
FOLDER = Path("out")
Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(local, "PRUNE_SECONDS", 0.0)


def run(path: Path, fake: list[str], jobs: int | None = 2, **options: Any) -> int:
    return local.run_local(read_sweep(path), FOLDER, jobs, train=fake, **options)


def rows() -> list[dict[str, str]]:
    with (FOLDER / "results.csv").open() as file:
        return list(csv.DictReader(file))


def lines(name: str) -> list[int]:
    """How many lines a file has in each run folder, by trial."""
    return [len((f / name).read_text().splitlines()) for f in sorted(FOLDER.glob("trial-*"))]


def test_a_grid_runs_once_and_its_results_are_written(
    grid: Path, fake: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(grid, fake) == 0
    found = rows()
    assert [(r["agent.learning_rate"], r["seed"]) for r in found] == [
        (rate, seed) for rate in ("0.1", "0.2", "0.3") for seed in ("0", "1")
    ]
    assert [round(float(r["score"]), 6) for r in found] == [1.0, 1.1, 2.0, 2.1, 3.0, 3.1]
    assert {r["state"] for r in found} == {"complete"}
    out, err = capsys.readouterr()
    table = out.splitlines()
    assert table[0].split() == ["trial", "state", "score", "seconds", "agent.learning_rate", "seed"]
    assert table[1].split()[:3] == ["5", "complete", "3.1"]
    assert table[9].split() == ["3.05", "2", "0.3"]  # the mean over seeds
    assert "trial 0 starts: agent.learning_rate=0.1 seed=0" in err
    begin = {f.name: f.stat().st_mtime_ns for f in FOLDER.glob("trial-*/summary.json")}
    assert run(grid, fake) == 0  # nothing is left to do
    assert lines("starts.txt") == [1] * 6
    assert {f.name: f.stat().st_mtime_ns for f in FOLDER.glob("trial-*/summary.json")} == begin


DRIVER = """
    import sys
    from pathlib import Path
    from mbpo_fast.sweeps.local import run_local
    from mbpo_fast.sweeps.schema import read_sweep
    sys.exit(run_local(read_sweep(Path("sweep.yaml")), Path("out"), 2, train=sys.argv[1:]))
"""


@pytest.mark.parametrize("victims", ["sweep", "sweep and trials"])
def test_killed_in_the_middle_it_finishes_without_repeating_a_trial(
    grid: Path, fake: list[str], monkeypatch: pytest.MonkeyPatch, victims: str
) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.05")
    sweep = subprocess.Popen([sys.executable, "-c", textwrap.dedent(DRIVER), *fake])
    until = time.monotonic() + 60
    while len(list(FOLDER.glob("trial-*/summary.json"))) < 2:
        assert time.monotonic() < until
        assert sweep.poll() is None
        time.sleep(0.01)
    while not any(has_lines(f) for f in FOLDER.glob("trial-000[23]/metrics.jsonl")):
        time.sleep(0.01)
    sweep.kill()
    sweep.wait()
    if victims != "sweep":
        for started in FOLDER.glob("trial-*/starts.txt"):
            if not (started.parent / "summary.json").exists():
                os.kill(int(started.read_text().split()[-1]), signal.SIGKILL)
    finished = [f.parent for f in FOLDER.glob("trial-*/summary.json")]
    assert 2 <= len(finished) < 6
    assert run(grid, fake) == 0
    assert [r["state"] for r in rows()] == ["complete"] * 6
    assert [round(float(r["score"]), 6) for r in rows()] == [1.0, 1.1, 2.0, 2.1, 3.0, 3.1]
    assert lines("metrics.jsonl") == [10] * 6  # an interrupted trial went on, it did not begin anew
    assert lines("finished.txt") == [1] * 6
    assert all(len((f / "starts.txt").read_text().splitlines()) == 1 for f in finished)
    starts = sum(lines("starts.txt"))
    assert starts == 6 if victims == "sweep" else 7 <= starts <= 8


def has_lines(path: Path) -> bool:
    return path.exists() and len(path.read_text().splitlines()) > 2


def test_a_journal_cut_anywhere_repeats_nothing(grid: Path, fake: list[str]) -> None:
    assert run(grid, fake) == 0
    expected = (FOLDER / "results.csv").read_text()
    journal = FOLDER / "journal.log"
    whole = journal.read_bytes()
    for cut in (0, 1, len(whole) // 3, len(whole) // 2, whole.rfind(b"\n", 0, -1) + 1, len(whole) - 1):
        journal.write_bytes(whole[:cut])
        assert run(grid, fake) == 0
        assert (FOLDER / "results.csv").read_text() == expected
    assert lines("starts.txt") == [1] * 6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_goes_on(
    grid: Path, fake: list[str], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.05")
    begun = local._Local._start

    def start(self: Any, trial: Any) -> None:
        begun(self, trial)
        if trial.number == 3:
            time.sleep(0.3)
            os.kill(os.getpid(), number)

    monkeypatch.setattr(local._Local, "_start", start)
    assert run(grid, fake) == {signal.SIGTERM: 75, signal.SIGINT: 130}[number]
    assert [r["state"] for r in rows()].count("interrupted") in (1, 2)
    monkeypatch.setattr(local._Local, "_start", begun)
    assert run(grid, fake) == 0
    assert lines("metrics.jsonl") == [10] * 6
    assert lines("finished.txt") == [1] * 6


def test_trials_that_are_stopped_while_they_start_are_not_lost(
    grid: Path, fake: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_START_SECONDS", "0.4")
    begun = local._Local._start

    def start(self: Any, trial: Any) -> None:
        begun(self, trial)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(local._Local, "_start", start)
        assert run(grid, fake) == 75
    assert [r["state"] for r in rows()] == ["interrupted"]
    monkeypatch.delenv("FAKE_START_SECONDS")
    assert run(grid, fake) == 0
    assert [r["state"] for r in rows()] == ["complete"] * 6


def test_a_sweep_that_was_renamed_goes_on(write: Write, grid: Path, fake: list[str]) -> None:
    text = grid.read_text()
    for name in ("first", "second"):
        assert run(write(f"{text}name: {name}\n"), fake) == 0
    assert lines("starts.txt") == [1] * 6
    assert [r["state"] for r in rows()] == ["complete"] * 6


def test_random_and_bayes_draw_the_same_after_a_restart(write: Write, fake: list[str]) -> None:
    text = """
        method: {method}
        metric: {{name: score, goal: maximize}}
        run_cap: {cap}
        parameters:
          config: {{value: debug}}
          agent.learning_rate: {{distribution: log_uniform_values, min: 1e-4, max: 0.1}}
          agent.gamma: {{distribution: normal, mu: 0.9, sigma: 0.001}}
          seed: {{values: [0, 1, 2]}}
        """
    for method in ("random", "bayes"):
        drawn = []
        for folder, caps in (("once", [14]), ("twice", [5, 14])):
            for cap in caps:
                path = write(text.format(method=method, cap=cap))
                place = Path(f"{method}-{folder}")
                assert local.run_local(read_sweep(path), place, 1, train=fake) == 0
            with (place / "results.csv").open() as file:
                drawn.append([(r["agent.learning_rate"], r["seed"]) for r in csv.DictReader(file)])
        assert drawn[0] == drawn[1]
        assert len(set(drawn[0])) == 14


def test_bayes_looks_where_scores_are_high(write: Write, fake: list[str]) -> None:
    path = write(
        "method: bayes\nrun_cap: 30\nmetric: {name: score, goal: maximize}\n"
        "parameters: {config: {value: debug}, agent.learning_rate: {min: 0.0001, max: 1.0}}\n"
    )
    assert run(path, fake) == 0
    rates = [float(r["agent.learning_rate"]) for r in rows()]
    assert sum(rates[15:]) / 15 > 0.75 > sum(rates[:10]) / 10


def test_failures(write: Write, fake: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    broken = "method: grid\nparameters:\n  config: {value: debug}\n  seed: {values: [0, 1, 2, 3, 4]}\n"
    assert run(write(broken + "command: [x, train, --env.id=Broken, '${args}']\n"), fake, jobs=1) == 1
    err = capsys.readouterr().err
    assert "trial 0 failed, exit code 3: it broke" in err
    assert "the first 3 trials failed: no more are started" in err
    assert [r["state"] for r in rows()] == ["fail"] * 3


def test_the_final_evaluation_judges_when_no_metric_is_named(write: Write, fake: list[str]) -> None:
    path = write("method: grid\nparameters: {config: {value: debug}, agent.learning_rate: {values: [0.1]}}\n")
    assert run(path, fake) == 0
    assert rows()[0]["final/agent_mean_reward"] == "1.0"
    trial = local.Trial(FOLDER, 0, {})
    assert trial.value("agent/mean") == trial.value("agent.mean") == 1.0
    assert trial.value("wall_seconds") == 1.0
    assert trial.value("agent/median") is None


def test_an_absent_metric_fails_the_trial(
    write: Write, fake: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("method: grid\nmetric: {name: los}\nparameters: {config: {value: debug}}\n")
    assert run(path, fake) == 1
    assert "trial 0 failed, no los in its metrics or its summary" in capsys.readouterr().err


def test_a_target_ends_the_sweep(write: Write, grid: Path, fake: list[str]) -> None:
    path = write(grid.read_text().replace("goal: maximize", "goal: maximize, target: 2"))
    assert run(path, fake, jobs=1) == 0
    assert len(rows()) == 3
    assert run(path, fake, jobs=1) == 0
    assert len(rows()) == 3


def test_a_target_ends_trials_that_were_interrupted(
    write: Write, grid: Path, fake: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_START_SECONDS", "0.4")
    begun = local._Local._start

    def start(self: Any, trial: Any) -> None:
        begun(self, trial)
        if trial.number == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    path = write(grid.read_text().replace("goal: maximize", "goal: maximize, target: 1"))
    with monkeypatch.context() as patched:
        patched.setattr(local._Local, "_start", start)
        assert run(path, fake) == 75
    monkeypatch.delenv("FAKE_START_SECONDS")
    assert run(path, fake, jobs=1) == 0
    assert [r["state"] for r in rows()] == ["complete", "pruned"]
    assert run(path, fake, jobs=1) == 0


def test_a_target_loses_no_trial_whose_end_is_not_in_the_journal(
    write: Write, grid: Path, fake: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(grid.read_text().replace("goal: maximize", "goal: maximize, target: 1"))
    judged = local._Local._judge

    def killed(self: Any, trial: Any, code: int) -> None:
        if trial.number == 1:
            raise OSError("as if killed")
        judged(self, trial, code)

    with monkeypatch.context() as patched:
        patched.setattr(local._Local, "_judge", killed)
        with pytest.raises(OSError, match="killed"):
            run(path, fake)
    assert run(path, fake) == 0
    assert sorted((r["state"], round(float(r["score"]), 6)) for r in rows())[:2] == [
        ("complete", 1.0),
        ("complete", 1.1),
    ]


def test_a_second_ctrl_c_ends_the_trials_too(
    grid: Path, fake: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "1")
    monkeypatch.setenv("FAKE_BUSY", "1")
    started: list[Any] = []
    begun = local._Local._start

    def start(self: Any, trial: Any) -> None:
        begun(self, trial)
        started.append(trial)
        if len(started) == 2:
            while not all((each.run_dir / "metrics.jsonl").exists() for each in started):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(local._Local, "_start", start)
    with pytest.raises(KeyboardInterrupt):
        run(grid, fake)
    assert [trial._process.wait(5) for trial in started] == [-signal.SIGKILL] * 2


def test_weak_trials_are_stopped_early(
    write: Write, fake: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.05")
    path = write(
        "method: grid\nmetric: {name: score, goal: maximize}\n"
        "early_terminate: {type: hyperband, min_iter: 2, eta: 2}\n"
        "parameters: {config: {value: debug}, agent.learning_rate: {values: [0.3, 0.4, 0.1]}}\n"
    )
    assert run(path, fake, jobs=1) == 0
    assert [r["state"] for r in rows()] == ["complete", "complete", "pruned"]
    assert lines("metrics.jsonl")[2] < 10


def test_what_is_refused(write: Write, grid: Path, fake: list[str]) -> None:
    open_end = write("method: random\nparameters: {seed: {values: [0, 1]}}\n")
    with pytest.raises(UsageError, match=r"method random expects run_cap, or --count"):
        run(open_end, fake)
    assert not FOLDER.exists()
    assert local.run_local(read_sweep(open_end).capped(1), FOLDER, 1, train=fake) == 0
    other = write(open_end.read_text().replace("[0, 1]", "[0, 2]"))
    with pytest.raises(UsageError, match=r"out holds another sweep: parameters differ; choose another"):
        local.run_local(read_sweep(other).capped(1), FOLDER, 1, train=fake)
    Path("photos").mkdir()
    Path("photos/cat.txt").touch()
    with pytest.raises(UsageError, match="photos: expected a new folder or a sweep"):
        local.run_local(read_sweep(other).capped(1), Path("photos"), 1, train=fake)


def test_two_sweeps_do_not_share_a_folder(grid: Path, fake: list[str]) -> None:
    from mbpo_fast.sweeps.folder import claimed

    with (
        claimed(FOLDER, read_sweep(grid)),
        pytest.raises(UsageError, match="nobody works on, got one in use"),
    ):
        run(grid, fake)


def test_without_optuna(grid: Path, fake: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r'optuna is not installed: pip install "mbpo_fast\[sweep\]"'):
        run(grid, fake)


@pytest.mark.slow
def test_real_training_goes_on_in_its_own_folder(write: Write) -> None:
    path = write(
        "method: grid\nmetric: {name: agent/mean, goal: maximize}\nparameters:\n"
        "  config: {value: debug}\n  training.real_ratio: {value: 1}\n  training.total_steps: {value: 400}\n"
        "  checkpoint.every: {value: 100}\n  seed: {values: [0, 1]}\n"
    )
    command = [sys.executable, "-m", "mbpo_fast", "sweep", str(path), "--folder", "out", "--jobs", "1"]
    sweep = subprocess.Popen(command)
    until = time.monotonic() + 120
    while not list(FOLDER.glob("trial-0001/checkpoints/ckpt_*")):
        assert time.monotonic() < until
        time.sleep(0.02)
    children = Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read_text()
    sweep.kill()
    sweep.wait()
    for pid in children.split():
        os.kill(int(pid), signal.SIGKILL)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "trial 1 goes on: seed=1" in done.stderr
    assert "trial 0 " not in done.stderr
    assert "going on from step" in (FOLDER / "logs" / "trial-0001.txt").read_text()
    assert [r["state"] for r in rows()] == ["complete"] * 2


def test_the_table_on_a_terminal() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=60, color_system=None, legacy_windows=False)
    before = random.getstate()  # rich numbers its links by `random`
    with View(console) as view:
        assert view.live
        view.line("trial 0 starts [bold]")
        view.show("2 of 4 trials done", [["trial", "[score]"], ["0", "1.5"]])
    random.setstate(before)
    for words in ("trial 0 starts [bold]", "2 of 4 trials done", "[score]", "1.5"):
        assert words in text.getvalue()
