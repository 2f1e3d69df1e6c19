"""The command line: quick help, and each command's words and exit codes."""

import json
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from cli_results import claimed_run, mistake

from mbpo_fast import __version__, benchmarks, cli
from mbpo_fast.config import MACHINE_KEYS, config_schema_rows, load_config
from mbpo_fast.errors import UsageError


def test_help_is_quick_and_needs_no_extra_and_no_core() -> None:
    code = """
        import sys
        absent = ("torch", "ale_py", "tensorboard", "av", "gymnasium", "pydantic", "mbpo_fast._core")
        sys.modules |= dict.fromkeys(absent)  # an import of one of these fails
        from mbpo_fast.cli import main
        for command in ([], ["train"], ["eval"], ["verify-env"], ["info"], ["config"], ["bench"], ["report"]):
            assert main([*command, "--help"]) == 0
        sys.exit(main(["--version"]))
    """
    times = []
    for _ in range(2):
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
        )
        times.append(time.perf_counter() - begin)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == __version__
    # 0.5 s is promised for one of these nine calls, in a process of its own.
    assert min(times) < 2.0


def test_help_fits_a_screen_and_points_to_the_settings(run: Any) -> None:
    before = random.getstate()  # rich numbers its links by `random`
    pages = [run(*page, "--help").out for page in ([], ["train"], ["eval"], ["verify-env"], ["report"])]
    random.setstate(before)
    assert all(len(page.splitlines()) <= 24 for page in pages)
    assert "config schema" in pages[1]
    assert pages[1].count("--training") == 1
    for name in ("train", "eval", "verify-env", "info", "config", "bench", "report"):
        assert name in pages[0]


def test_overrides_reach_the_configuration(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    from mbpo_fast.training import run as run_module

    calls = []

    def train(config: Any, run_dir: Path, *, config_name: str) -> int:
        calls.append((config, run_dir, config_name))
        return 75

    monkeypatch.setattr(run_module, "train", train)
    arguments = ["--config", "debug", "--seed", "3", "--agent.learning-rate=1e-3", "--device", "cpu"]
    assert run("train", *arguments, "--env.repeat_action_probability", "0.5").code == 75
    config, run_dir, name = calls.pop()
    assert (config.seed, config.agent.learning_rate, config.device) == (3, 1e-3, "cpu")
    assert config.env.repeat_action_probability == 0.5
    assert (str(run_dir), name) == ("runs/debug-Catch-s3", "debug")
    Path("my run.yaml").write_text("env: {id: ALE/Pong-v5}")
    assert run("train", "--config", "debug", "--config", "my run.yaml").code == 75
    assert str(calls.pop()[1]) == "runs/debug-my-run-ALE-Pong-v5-s0"
    assert run("train", "--run", "here/it is").code == 75
    assert calls.pop()[1:] == (Path("here/it is"), "mbpo")


def test_every_key_without_a_group_is_an_option(run: Any) -> None:
    assert cli._SHORT_KEYS == MACHINE_KEYS
    for row in config_schema_rows():
        if "." not in row.key and row.key != "seed":  # which is an option of its own
            for key in {row.key, row.key.replace("_", "-")}:
                value = "true" if row.type.startswith("true") else "1" if "int" in row.type else "cpu"
                shown = run("config", "show", f"--{key}", value)
                assert f"\n{row.key}: {value}\n" in shown.out


def test_config_show_is_a_file_that_loads(run: Any) -> None:
    shown = run("config", "show", "--config", "debug", "--training.batch-size", "8")
    assert shown.code == 0
    Path("x.yaml").write_text(shown.out)
    assert load_config(["x.yaml"], {}) == load_config(["debug"], {"training.batch_size": "8"})


def test_config_schema_lists_keys(run: Any) -> None:
    listed = run("config", "schema").out
    assert "training.real_ratio = 0.05   [number > 0, <= 1]\n    share of real rows" in listed
    assert max(map(len, listed.splitlines())) <= 110


def test_verify_env(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mbpo_fast.envs import verify
    from mbpo_fast.envs.verify import Check

    fine = run("verify-env", "Catch", "--frames", "pictures")
    assert fine.code == 0
    assert "(4, 36, 36)" in fine.out
    assert [p.name for p in sorted(Path("pictures").iterdir())] == [f"frame_{i}.png" for i in range(4)]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in Path("pictures").iterdir())
    monkeypatch.setattr(verify, "verify_env", lambda env_id: [Check("lives", "2", "3", False)])
    wrong = run("verify-env", "Catch")
    assert wrong.code == 1
    assert wrong.out == "BAD  lives  2, expected 3\n"
    assert wrong.err == "mbpo-fast: error: Catch: not as expected: lives\n"


def test_info(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_EXTRAS", {"atari": ("no_such_module", "Atari games")})
    shown = run("info").out
    for words in (
        "mbpo_fast ",
        "torch ",
        "core isa",
        "device",
        'pip install "mbpo_fast[atari]" (Atari games)',
    ):
        assert words in shown
    networks = run("info", "--model", "--config", "debug", "--model.width", "4")
    assert networks.code == 0
    assert networks.out.splitlines()[0].split() == ["name", "input", "output", "parameters", "status"]
    assert "policy (DDQN)" in networks.out


RESULT = {
    "episodes": 3,
    "mean": 2.0,
    "std": 1.0,
    "ci95": [1.0, 3.0],
    "median": 2.0,
    "min": 1.0,
    "max": 3.0,
    "scores": [1.0, 2.0, 3.0],
    "lengths": [5, 5, 5],
    "distinct_games": 2,
    "protocol": "Catch, whole games",
}


def test_eval_prints_a_table_and_writes_json(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mbpo_fast.training import frozen

    asked = []

    def evaluate_run(path: Path, **options: Any) -> dict[str, Any]:
        asked.append((path, options))
        return RESULT

    monkeypatch.setattr(frozen, "evaluate_run", evaluate_run)
    done = run("eval", "r", "--episodes", "3", "--seed", "5", "--epsilon", "0.1", "--json", "out.json")
    assert done.code == 0
    assert done.out.splitlines() == [
        "mean score     2.0",
        "95 % interval  1.0 to 3.0",
        "median         2.0",
        "range          1.0 to 3.0",
        "games          3, 2 of them distinct",
        "protocol       Catch, whole games",
    ]
    assert json.loads(Path("out.json").read_text()) == RESULT
    options = {"episodes": 3, "seed": 5, "epsilon": 0.1, "env_id": None, "num_envs": None}
    assert asked == [(Path("r"), options | {"workers": None, "video": None})]
    assert "nowhere" in mistake(run("eval", "r", "--json", "nowhere/out.json"))
    assert len(asked) == 1  # the games are not played when their result has no place


def test_report_command(run: Any) -> None:
    folder = claimed_run()
    assert mistake(run("report", str(folder))) == f"{folder}: expected metrics, found none yet"
    (folder / "metrics.jsonl").write_text('{"step": 100, "rollout/ep_rew_mean": 7.0}\n')
    assert run("report", str(folder)).out == f"{folder}/report.html\n"
    assert run("report", str(folder), "-o", "mine.html").code == 0
    assert Path("mine.html").read_text().startswith("<!doctype html>")
    assert "nowhere" in mistake(run("report", str(folder), "-o", "nowhere/mine.html"))
    assert "--label" in mistake(run("report", str(folder), "--label", "mine"))
    assert "--threshold: expected a score, got nan" in mistake(
        run("report", str(folder), "--threshold", "nan")
    )


def test_report_command_compares_runs(run: Any) -> None:
    folders = [claimed_run().rename(f"runs/{name}") for name in ("a", "b")]
    for folder in folders:
        (folder / "metrics.jsonl").write_text('{"step": 100, "rollout/ep_rew_mean": 7.0}\n')
    assert "expected another seed" in mistake(run("report", *map(str, folders)))
    settings = folders[1] / "config.yaml"
    settings.write_text(settings.read_text().replace("gamma: 0.99", "gamma: 0.9"))
    options = ("--label", "patient", "--label", "hasty", "--threshold", "5", "--threshold", "3")
    assert run("report", *map(str, folders), *options).out == "report.html\n"
    page = Path("report.html").read_text()
    assert "2 arms on Catch" in page
    assert "patient" in page
    assert page.index("<td>3</td>") < page.index("<td>5</td>")


def test_unforeseen_system_errors_are_one_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mbpo_fast.training import reports

    def fail(error: BaseException) -> Any:
        def write_report(path: Path, output: Path | None, thresholds: list[float]) -> Path:
            raise error

        return write_report

    monkeypatch.setattr(reports, "write_report", fail(OSError(28, "No space left on device", "x/y")))
    full = run("report", "r")
    assert (full.code, full.err) == (1, "mbpo-fast: error: x/y: No space left on device\n")
    monkeypatch.setattr(reports, "write_report", fail(UsageError("two\n lines")))
    assert mistake(run("report", "r")) == "two lines"
    monkeypatch.setattr(reports, "write_report", fail(KeyboardInterrupt()))
    assert run("report", "r").code == 130


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m mbpo_fast config schema | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("seed = 0")


BENCHMARK = """
    import pytest, time

    @pytest.mark.parametrize(("impl", "seconds"), [("peer", 0.08), ("mbpo_fast", 0.04)])
    def test_speed(benchmark, impl, seconds):
        benchmark.group = "naps"
        benchmark.extra_info |= {"impl": impl, "case": "n=2", "items": 2}
        benchmark.pedantic(time.sleep, (seconds,), rounds=3)
"""


def test_bench_puts_ours_beside_the_peers(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        benchmarks, "__file__", str(tmp_path / "site-packages" / "mbpo_fast" / "benchmarks.py")
    )
    assert "bench needs a source checkout" in mistake(run("bench"))
    Path("bench").mkdir()
    Path("pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = ['--benchmark-disable']\n")
    Path("bench/test_naps.py").write_text(textwrap.dedent(BENCHMARK))
    done = run("bench", "-k", "speed")
    assert done.code == 0
    header, ours, peer = (line.split() for line in done.out.splitlines())
    assert header[0] == "group"
    assert ours[:3] == ["naps", "n=2", "mbpo_fast"]
    assert peer[:3] == ["naps", "n=2", "peer"]
    assert 20.0 <= float(ours[3]) < 40.0  # ms an item
    assert 1.3 < float(peer[5]) < 2.7
    assert "-k nothing: no benchmark matches" in run("bench", "-k", "nothing").err
    Path("bench/test_naps.py").write_text("def test_wrong(benchmark): assert benchmark(int) == 1")
    assert mistake(run("bench")) == "the benchmarks failed; pytest's own words are above"
