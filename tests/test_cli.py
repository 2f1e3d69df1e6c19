"""The command line: quick help, one line for every mistake, exit codes, and nothing touched by a mistake."""

import json
import os
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mbpo_fast import __version__, benchmarks, cli
from mbpo_fast.config import load_config, resolved_yaml
from mbpo_fast.errors import UsageError
from mbpo_fast.training.checkpoint import CheckpointStore

CATCH = ["--config", "debug", "--training.real_ratio", "1", "--threads", "1"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run_command(*arguments: str) -> Result:
        code = cli.main(arguments)
        return Result(code, *capsys.readouterr())

    return run_command


def mistake(result: Result) -> str:
    """The one line that a user's mistake leaves."""
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("mbpo-fast: error: ")
    assert result.err.count("\n") == 1
    return result.err.removeprefix("mbpo-fast: error: ").rstrip("\n")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


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


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], 'Unknown command "trian". Did you mean "train"?'),
        (["train", "--confg", "mbpo"], "Unknown option: --confg. Did you mean --config?"),
        (["train", "extra"], "extra"),
        (["train", "--seed", "x"], "--seed"),
        (["train", "--seed", "-1"], "--seed: expected int >= 0"),
        (["train", "--config", "mpbo"], "mpbo: no such preset or file (did you mean mbpo?); presets: "),
        (["train", "--config", "nope.yaml"], "nope.yaml: No such file or directory"),
        (["train", "--training.real-ratioo", "1"], "unknown key (did you mean training.real_ratio?)"),
        (["train", "--training.batch_size", "many"], "--training.batch_size: expected int >= 1, got"),
        (["train", "--training.batch_size", "0"], "--training.batch_size: expected int >= 1, got 0"),
        (["train", "--training.batch-size=0"], "--training.batch_size: expected int >= 1, got 0"),
        (["train", "--training.batch_size"], "--training.batch_size: expected a value after it"),
        (["train", "--env.fire-reset", "--seed", "1"], "--env.fire-reset: expected a value after it"),
        (["train", "--device", "gpu"], "--device: expected text matching"),
        (["train", "--env.id", "Pongg"], "did you mean"),
        (["config", "show", "--env.idd", "x"], "--env.idd: unknown key (did you mean env.id?)"),
        (["config", "schow"], 'Did you mean "show"?'),
        (["verify-env", "Pongg"], "did you mean"),
        (["eval"], "RUN"),
        (["eval", "nowhere"], "nowhere"),
        (["eval", "nowhere", "--episodes", "0"], "--episodes: expected at least 1, got 0"),
        (["eval", "nowhere", "--epsilon", "2"], "--epsilon: expected 0 to 1, got 2"),
        (["eval", "nowhere", "--workers", "-1"], "--workers: expected at least 0, got -1"),
        (["eval", "nowhere", "--video", "a.avi"], "--video: expected a file that ends in .mp4 or .gif"),
        (["export", "nowhere", "there"], "nowhere: expected a run, a checkpoint or a policy folder"),
        (["push", "nowhere", "someone/something"], "nowhere: expected a policy folder, found no config.json"),
        (["train", "--track", "wandbb"], "--track"),
        (["eval", "nowhere", "--seed", "-3"], "--seed: expected 0 to 2147483647, got -3"),
        (["eval", "nowhere", "--training.x", "1"], "--training.x"),
        (["report", "nowhere"], "nowhere: expected a run folder"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    run: Any, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    assert expected in mistake(run(*arguments))
    assert files(tmp_path) == {}


def test_a_settings_file_with_a_mistake(run: Any, tmp_path: Path) -> None:
    Path("mine.yaml").write_text("training:\n  real_ratioo: 0.1\n")
    assert mistake(run("train", "--config", "mine.yaml")) == (
        "mine.yaml: training.real_ratioo: unknown key (did you mean training.real_ratio?)"
    )
    Path("mine.yaml").write_text("seed: 1\nseed: 2\n")
    assert mistake(run("train", "--config", "mine.yaml")) == "mine.yaml:2:1: duplicate key 'seed'"
    assert list(files(tmp_path)) == ["mine.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_files_without_permission(run: Any) -> None:
    Path("mine.yaml").touch(mode=0)
    assert mistake(run("train", "--config", "mine.yaml")) == "mine.yaml: Permission denied"


def test_a_run_folder_that_is_a_file(run: Any) -> None:
    Path("taken").write_text("mine")
    assert "taken" in mistake(run("train", *CATCH, "--run", "taken/inside"))
    assert "taken" in mistake(run("train", *CATCH, "--run", "taken"))
    assert Path("taken").read_text() == "mine"


def test_a_folder_of_something_else_is_refused(run: Any, tmp_path: Path) -> None:
    Path("photos").mkdir()
    Path("photos/cat.txt").write_text("meow")
    before = files(tmp_path)
    assert "photos: expected a new folder or a run" in mistake(run("train", *CATCH, "--run", "photos"))
    assert files(tmp_path) == before


def claimed_run(*overrides: str) -> Path:
    """A run folder as `train` leaves it after its first moment."""
    keys = dict(pair.split("=") for pair in overrides)
    config = load_config(["debug"], {"training.real_ratio": "1", "threads": "1", **keys})
    folder = Path("runs/debug-Catch-s0")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(resolved_yaml(config))
    return folder


def test_a_run_of_another_configuration_is_refused_key_by_key(run: Any, tmp_path: Path) -> None:
    claimed_run("training.batch_size=16", "agent.gamma=0.9", "training.total_steps=5")
    before = files(tmp_path)
    message = mistake(run("train", *CATCH))
    assert "training.batch_size 16 -> 32" in message
    assert "agent.gamma 0.9 -> 0.99" in message
    assert "total_steps" not in message  # a budget may differ
    assert files(tmp_path) == before


def test_a_damaged_checkpoint_is_named(run: Any, tmp_path: Path) -> None:
    folder = claimed_run()
    store = CheckpointStore(folder / "checkpoints", keep=2)
    store.save(100, {"x": np.zeros(3)}, {})
    path = store.save(200, {"x": np.zeros(3)}, {})
    (path / "tensors.safetensors").write_bytes(b"rubbish")
    before = files(tmp_path)
    for command in (["train", *CATCH], ["eval", str(folder)], ["eval", str(path)]):
        message = mistake(run(*command))
        assert "ckpt_000000200/tensors.safetensors: expected" in message
        assert "to go on from ckpt_000000100, move ckpt_000000200 away" in message
    assert files(tmp_path) == before


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
    options = {"episodes": 3, "seed": 5, "epsilon": 0.1, "env_id": None, "num_envs": 16}
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
