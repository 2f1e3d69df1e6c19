"""Commands in an empty folder, and what they say."""

from pathlib import Path
from typing import Any

import pytest
from cli_results import Result

from mbpo_fast import cli


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run_command(*arguments: str) -> Result:
        code = cli.main(arguments)
        return Result(code, *capsys.readouterr())

    return run_command
