"""Metrics: one JSON line a step, flushed, cut back on resume; the same scalars in TensorBoard."""

import json
from pathlib import Path

import pytest

from mbpo_fast.errors import UsageError
from mbpo_fast.training import logger as logger_module
from mbpo_fast.training.logger import RunLogger, read_metrics


def lines(folder: Path) -> list[dict[str, float | None]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_lines_are_on_disk_at_once(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path / "run", tensorboard=False, offset=None)
    logger.log(5, {"train/loss": 0.1, "rollout/episodes": 3})
    logger.log(10, {"train/loss": float("nan"), "x": float("inf")})
    expected = [
        {"step": 5, "train/loss": 0.1, "rollout/episodes": 3},
        {"step": 10, "train/loss": None, "x": None},
    ]
    assert lines(tmp_path / "run") == expected
    assert read_metrics(tmp_path / "run") == expected
    logger.close()
    logger.close()


def test_a_resumed_run_continues_byte_for_byte(tmp_path: Path) -> None:
    def write(folder: Path, stop_and_resume: bool) -> bytes:
        logger = RunLogger(folder, tensorboard=False, offset=None)
        logger.log(1, {"a": 1 / 3})
        state = logger.state_dict()
        if stop_and_resume:
            logger.log(2, {"a": 99.0})  # after the checkpoint: lost with the process
            logger.log(3, {"a": 99.0})
            logger.close()
            logger = RunLogger(folder, tensorboard=False, offset=state["offset"])
        logger.log(2, {"a": 2.0})
        logger.close()
        return (folder / "metrics.jsonl").read_bytes()

    assert write(tmp_path / "a", True) == write(tmp_path / "b", False)


def test_a_new_run_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    RunLogger(tmp_path, tensorboard=False, offset=None).close()
    assert lines(tmp_path) == []


@pytest.mark.parametrize("kept", [0, 12, 15, 26])
def test_a_log_that_lost_its_end_keeps_its_whole_lines(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 22}\n'[:kept])
    logger = RunLogger(tmp_path, tensorboard=False, offset=1000)
    logger.log(30, {})
    logger.close()
    assert [line["step"] for line in lines(tmp_path)] == {0: [30], 12: [1, 30], 15: [1, 30], 26: [1, 22, 30]}[
        kept
    ]


def test_a_line_still_being_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2')
    assert read_metrics(tmp_path) == [{"step": 1}]
    assert read_metrics(tmp_path / "nowhere") == []


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nrubbish\n{"step": 2}\n')
    with pytest.raises(UsageError, match=r"metrics\.jsonl:2: not a line of metrics"):
        read_metrics(tmp_path)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_what_the_lines_say(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path, tensorboard=True, offset=None)
    logger.log(1, {"train/loss": 0.5, "nan": float("nan")})
    offset = logger.state_dict()["offset"]
    for step in (2, 3):
        logger.log(step, {"train/loss": step / 2})
    logger.close()
    assert scalars(tmp_path) == {"train/loss": [(1, 0.5), (2, 1.0), (3, 1.5)]}
    logger = RunLogger(tmp_path, tensorboard=True, offset=offset)
    logger.log(2, {"train/loss": 8.0})
    logger.close()
    assert scalars(tmp_path) == {"train/loss": [(1, 0.5), (2, 8.0)]}


def test_without_the_extra_there_are_no_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger_module, "find_spec", lambda name: None)
    logger = RunLogger(tmp_path, tensorboard=True, offset=None)
    logger.log(1, {"a": 1.0})
    logger.close()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
