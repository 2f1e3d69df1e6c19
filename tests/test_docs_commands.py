"""Every command in the README and the documentation works as it stands there.

The blocks of a page are run in order in one folder, by bash, with `docs_shim.py` in place of the programs: it
gives training a tiny budget, and what needs an account, a cluster or hours its dry run (`docs_shim.DRY`).
"""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from mbpo_fast import cli
from mbpo_fast.commands.common import load_settings

ROOT = Path(__file__).parent.parent
SHIM = Path(__file__).parent / "docs_shim.py"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = {"", "bash", "sh", "shell", "console"}
NOT_RUN = {"text", "yaml", "json", "toml", "html", "css", "ini", "diff", "mermaid"}

_spec = importlib.util.spec_from_file_location("docs_shim", SHIM)
assert _spec is not None
assert _spec.loader is not None
docs_shim = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(docs_shim)


class Block(NamedTuple):
    """A fenced block: where it stands, its language, its file name if it has one, and its text."""

    line: int
    language: str
    title: str | None
    text: str


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    start = None
    for number, line in enumerate(lines, 1):
        if not line.lstrip().startswith("```"):
            continue
        if start is None:
            start, language, rest = number, *line.strip("` ").partition(" ")[::2]
            continue
        indent = len(line) - len(line.lstrip())
        title = re.search(r'title="([^"]+)"', rest)
        text = "\n".join(text[indent:] for text in lines[start : number - 1]) + "\n"
        yield Block(start, language, title[1] if title else None, text)
        start = None
    assert start is None, f"{page.name}:{start}: a block without an end"


def commands(block: Block) -> Iterator[list[str]]:
    """The words of every simple command of a shell block, without what comes before its name."""
    joined = block.text.replace("\\\n", " ")
    for line in joined.splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = next((i for i, word in enumerate(words) if word in ("&&", "||", "|", "&", ";")), len(words))
            command, words = words[:end], words[end + 1 :]
            while command and re.fullmatch(r"\w+=.*", command[0]):
                command = command[1:]
            if command:
                yield command


def shell_blocks(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in SHELL and block.title is None]


def write_files(page: Path, folder: Path) -> None:
    """Blocks with a file name become files, and what belongs to a checkout is there."""
    for block in blocks(page):
        if block.title is not None:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text)
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/activate").touch()
    if (ROOT / "configs").is_dir():
        (folder / "configs").symlink_to(ROOT / "configs")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_language_of_every_block_is_known(page: Path) -> None:
    for block in blocks(page):
        assert block.language in SHELL | NOT_RUN | {"python"}, f"{page.name}:{block.line}: {block.language}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_understood(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    for block in shell_blocks(page):
        for program, *arguments in commands(block):
            where = f"{page.name}:{block.line}: {program}"
            assert program in (*docs_shim.NAMES, "source"), f"{where}: unknown; what is no command is ```text"
            if program == "mbpo-fast" and "--help" not in arguments:
                understood(arguments)


def understood(arguments: list[str]) -> None:
    """Parse a command as the command line does; load the settings of those that take some."""
    tokens = cli._with_overrides(arguments)
    _, bound, _ = cli.app.parse_args(tokens, exit_on_error=False, print_error=False)
    options = bound.arguments
    if arguments[:1] in cli._TAKE_SETTINGS or arguments[:2] in cli._TAKE_SETTINGS:
        load_settings(options.get("config") or [cli.DEFAULT_CONFIG], options.get("overrides"))


def test_the_check_would_notice(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Text\n\n```bash\nA=1 mbpo-fast train \\\n  --config debug  # why\nmbpo-fast info && make test\n```\n"
        '```yaml title="a/b.yaml"\nseed: 1\n```\n'
    )
    (block,) = shell_blocks(page)
    assert list(commands(block)) == [
        ["mbpo-fast", "train", "--config", "debug"],
        ["mbpo-fast", "info"],
        ["make", "test"],
    ]
    write_files(page, tmp_path)
    assert (tmp_path / "a/b.yaml").read_text() == "seed: 1\n"
    with pytest.raises(Exception, match="--confg"):
        understood(["train", "--confg", "debug"])
    with pytest.raises(Exception, match="unknown key"):
        understood(["train", "--training.nothing", "1"])


def test_the_tiny_budget_wins_and_keeps_the_rest() -> None:
    tokens = docs_shim.tiny(["train", "--config", "paper", "--training.total_steps", "50000", "--seed", "2"])
    _, bound, _ = cli.app.parse_args(cli._with_overrides(tokens), exit_on_error=False, print_error=False)
    config = load_settings(bound.arguments["config"], bound.arguments["overrides"], bound.arguments["seed"])
    assert (config.training.total_steps, config.seed, config.model.arch) == (120, 2, "nature")
    assert docs_shim.tiny(["eval", "r", "--episodes", "100", "--seed", "1"]) == (
        ["eval", "r", "--seed", "1", "--episodes", "2", "--num-envs", "2"]
    )


def test_what_is_not_run_is_on_the_list() -> None:
    assert docs_shim.dry_reason(["bench", "-k", "replay"]) is not None
    assert docs_shim.dry_reason(["train", "--track", "wandb", "--track.mode", "online"]) is not None
    assert docs_shim.dry_reason(["sweep", "x.yaml", "--engine", "wandb"]) is not None
    assert docs_shim.dry_reason(["sweep", "x.yaml"]) is None
    assert docs_shim.dry_reason(["train", "--config", "debug"]) is None
    assert docs_shim.dry_reason(["eval", "runs/x"]) is None
    assert docs_shim.dry_reason(["push", "folder", "user/name"]) is not None
    assert docs_shim.dry_reason(["push", "folder", "user/name", "--dry-run"]) is None


def test_stand_ins_fail_where_the_documentation_is_wrong(capfd: pytest.CaptureFixture[str]) -> None:
    assert docs_shim.pip(["install", ".[atari,tensorboard]"]) == 0
    assert docs_shim.pip(["install", "mbpo_fast[no-such-extra]"]) == 1
    assert docs_shim.make(["test"]) == 0
    assert docs_shim.make(["no-such-verb"]) != 0


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if shell_blocks(p)], ids=lambda page: page.stem)
def test_every_command_runs(page: Path, tmp_path: Path) -> None:
    folder, programs, home = (tmp_path / name for name in ("work", "programs", "home"))
    for made in (folder, programs, home):
        made.mkdir()
    write_files(page, folder)
    for name in docs_shim.NAMES:
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{SHIM}" {name} "$@"\n')
        (programs / name).chmod(0o755)
    env = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")} | {
        "PATH": f"{programs}:/usr/bin:/bin",
        "REAL_PATH": os.environ["PATH"],
        "HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "80",
    }
    for block in blocks(page):
        if block.language == "python":
            (folder / "example.py").write_text(block.text)
            command = [sys.executable, "example.py"]
        elif block.language in SHELL and block.title is None:
            command = ["bash", "-euxo", "pipefail", "-c", block.text]
        else:
            continue
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        where = f"{page.relative_to(ROOT)}:{block.line}"
        assert done.returncode == 0, f"{where}\n{block.text}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
