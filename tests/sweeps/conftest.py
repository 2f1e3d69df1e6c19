"""A sweep file in a folder of its own, and the command of the stand-in for `mbpo-fast train`."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

GRID = """
method: grid
metric: {name: score, goal: maximize}
parameters:
  config: {value: debug}
  agent.learning_rate: {values: [0.1, 0.2, 0.3]}
  seed: {values: [0, 1]}
"""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_file(text: str) -> Path:
        path = tmp_path / "sweep.yaml"
        path.write_text(text)
        return path

    return write_file


@pytest.fixture
def grid(write: Callable[[str], Path]) -> Path:
    """Six trials; the stand-in scores ten times the learning rate and a hundredth of the seed."""
    return write(GRID)


@pytest.fixture
def fake() -> list[str]:
    return [sys.executable, "-S", str(Path(__file__).parent / "fake_train.py")]
