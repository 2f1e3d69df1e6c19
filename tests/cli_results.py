"""What a command left behind."""

from pathlib import Path

from mbpo_fast.config import load_config, resolved_yaml

CATCH = ["--config", "debug", "--training.real_ratio", "1", "--threads", "1"]


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def mistake(result: Result) -> str:
    """The one line that a user's mistake leaves."""
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("mbpo-fast: error: ")
    assert result.err.count("\n") == 1
    return result.err.removeprefix("mbpo-fast: error: ").rstrip("\n")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def claimed_run(*overrides: str) -> Path:
    """A run folder as `train` leaves it after its first moment."""
    keys = dict(pair.split("=") for pair in overrides)
    config = load_config(["debug"], {"training.real_ratio": "1", "threads": "1", **keys})
    folder = Path("runs/debug-Catch-s0")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(resolved_yaml(config))
    return folder
