"""The gate opens and shuts on constructed metrics."""

import math

import pytest

from mbpo_fast.models import Gate, GateConfig

GOOD = {
    "holdout_rows": 500.0, "changed_error_ratio": 0.8, "frame_error_ratio": 0.9, "reward_f1": 0.5,
    "false_ends": 0.01,
}  # fmt: skip


def test_opens_on_a_good_model_and_shuts_again_on_a_bad_one() -> None:
    gate = Gate(GateConfig())
    assert not gate.open
    assert gate.judge(GOOD)
    assert gate.verdict == "open"
    assert not gate.judge(GOOD | {"reward_f1": 0.1})
    assert "reward F1 0.10, expected at least 0.3" in gate.verdict
    assert gate.judge(GOOD)


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("changed_error_ratio", 1.0, "changed-pixel"),
        ("frame_error_ratio", 1.2, "whole-frame"),
        ("reward_f1", 0.0, "reward F1"),
        ("holdout_rows", 3.0, "held-out"),
        ("changed_error_ratio", math.nan, "changed-pixel"),
        ("frame_error_ratio", math.nan, "whole-frame"),
        ("reward_f1", math.nan, "reward F1"),
        ("false_ends", 0.2, "false ends"),
        ("false_ends", math.nan, "false ends"),
    ],
)
def test_each_check_shuts_it_alone(key: str, value: float, word: str) -> None:
    gate = Gate(GateConfig())
    assert gate.judge(GOOD)
    assert not gate.judge(GOOD | {key: value})
    assert word in gate.verdict


def test_copying_the_last_frame_never_passes() -> None:
    copy = GOOD | {"changed_error_ratio": 1.0, "frame_error_ratio": 1.0, "reward_f1": 1.0}
    assert not Gate(GateConfig()).judge(copy)


def test_without_held_out_episodes_there_is_no_verdict_to_trust() -> None:
    assert not Gate(GateConfig()).judge({"holdout_rows": 0.0})


def test_off_is_always_open() -> None:
    gate = Gate(GateConfig(mode="off"))
    assert gate.open
    assert gate.judge({"holdout_rows": 0.0})
