"""Help of every command: fits a screen, loads nothing heavy, is quick; and completion by the Tab key."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from mbpo_fast import cli
from mbpo_fast.config import config_schema_rows, preset_names

WIDTH, HEIGHT = 80, 40
HEAVY = (
    "torch",
    "numpy",
    "gymnasium",
    "pydantic",
    "ale_py",
    "tensorboard",
    "wandb",
    "optuna",
    "mbpo_fast._core",
)


def commands(app: App, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command, those in groups too."""
    yield words
    for name in app:
        if not name.startswith("-"):
            yield from commands(app[name], (*words, name))


ALL = list(commands(cli.app))


def help_of(*words: str, check: str = "") -> str:
    """What a process of its own prints; it fails if a heavy module was loaded."""
    code = f"""
import sys
from mbpo_fast.cli import main
code = main(sys.argv[1:])
loaded = [name for name in {HEAVY!r} if name in sys.modules]
sys.exit(f"loaded: {{loaded}}" if loaded else code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--help"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": str(WIDTH)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_all_commands_are_known_here() -> None:
    assert {("train",), ("eval",), ("report",), ("config", "show"), ("completion",)} <= set(ALL)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_fits_a_screen_and_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    lines = help_of(*words).splitlines()
    assert len(lines) <= HEIGHT
    assert max(map(len, lines)) <= WIDTH
    assert lines[0].startswith(f"Usage: {' '.join(('mbpo-fast', *words))}")
    summary = lines[2]
    assert summary.endswith((".", ":"))
    assert len(summary.split()) >= 3


def test_each_command_is_one_line_in_the_list() -> None:
    listed = help_of()
    for (name,) in (words for words in ALL if len(words) == 1):
        (line,) = [line for line in listed.splitlines() if line.startswith(f"│ {name} ")]
        assert line.rstrip("│ ").endswith("."), f"{name}: expected a summary that fits its line, got {line}"


def test_help_takes_less_than_half_a_second() -> None:
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "mbpo_fast", "--help"], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # CPU time: a busy machine must not fail the test.
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(seconds) < 0.5


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "completion.bash"
    assert cli.main(["completion", "--shell", "bash", "--output", str(path)]) == 0
    return path


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    code = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_mbpo_fast
printf '%s\\n' "${COMPREPLY[@]}"
"""
    arguments = ["bash", "-c", code, "bash", str(script), "mbpo-fast", *words]
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()


def test_bash_completes_commands_settings_and_presets(script: Path) -> None:
    assert completed(script, "verify") == ["verify-env"]
    assert completed(script, "eval", "--epi") == ["--episodes"]
    assert completed(script, "train", "--model.gate.m") == [
        "--model.gate.mode",
        "--model.gate.max_changed_error",
        "--model.gate.max_frame_error",
        "--model.gate.min_reward_f1",
        "--model.gate.max_false_ends",
        "--model.gate.min_holdout",
    ]
    assert completed(script, "train", "--model.gate.mode", "") == ["auto", "off"]
    assert completed(script, "train", "--env.fire_reset", "f") == ["false"]
    assert completed(script, "config", "show", "--config", "") == preset_names()
    assert completed(script, "info", "--training.total_steps", "9", "--training.real") == [
        "--training.real_ratio"
    ]


def test_every_setting_is_completed_where_settings_are_taken(script: Path) -> None:
    keys = {f"--{row.key}" for row in config_schema_rows()} - {"--seed"}
    for words in (["train"], ["info"], ["config", "show"]):
        assert keys <= set(completed(script, *words, "--"))
    assert not keys & set(completed(script, "eval", "--"))


@pytest.mark.parametrize(
    ("shell", "file", "startup"),
    [
        ("bash", ".local/share/bash-completion/completions/mbpo-fast", ".bashrc"),
        ("zsh", ".zsh/completions/_cyclopts_mbpo-fast", ".zshrc"),
        ("fish", ".config/fish/completions/mbpo-fast.fish", None),
    ],
)
def test_completion_goes_where_the_shell_looks(
    shell: str,
    file: str,
    startup: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ZSH", "ZSH_CUSTOM"):
        monkeypatch.delenv(name, raising=False)
    for _ in range(2):
        assert cli.main(["completion", "--shell", shell]) == 0
    assert f"written: {tmp_path / file}" in capsys.readouterr().out
    assert "training.real_ratio" in (tmp_path / file).read_text()
    if startup is None:
        return
    lines = (tmp_path / startup).read_text().splitlines()
    assert sum(str((tmp_path / file).parent) in line for line in lines) == 1


def test_an_unknown_shell_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cyclopts.completion.detect import ShellDetectionError

    from mbpo_fast.commands import completion

    def undetected() -> str:
        raise ShellDetectionError

    monkeypatch.setattr(completion, "detect_shell", undetected)
    assert cli.main(["completion"]) == 2
    assert capsys.readouterr().err == (
        "mbpo-fast: error: --shell: expected bash, zsh or fish, and could not tell which one is in use\n"
    )
