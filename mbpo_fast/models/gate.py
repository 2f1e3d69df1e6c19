"""The gate: a model feeds the policy only while it is better than copying the last frame."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from mbpo_fast.settings import Settings


class GateConfig(Settings):
    """What a world model must reach on held-out episodes before its rows are learned from."""

    mode: Literal["auto", "off"] = Field(
        "auto", description="off: synthetic rows from the first round, as in the paper and with the oracle"
    )
    max_changed_error: float = Field(
        0.95, gt=0, description="error on changed pixels at most this share of copy-last-frame's"
    )
    max_frame_error: float = Field(
        1.0, gt=0, description="error on the whole frame at most this share of copy-last-frame's"
    )
    min_reward_f1: float = Field(0.3, ge=0, le=1, description="F1 of predicted rewards at least this")
    max_false_ends: float = Field(
        0.05, gt=0, le=1, description="share of the steps that go on that may be taken for an end"
    )
    min_holdout: int = Field(200, ge=1, description="held-out transitions needed for a verdict")


class Gate:
    """Judges the metrics of a held-out evaluation; `verdict` says why it is shut, in a few words."""

    def __init__(self, config: GateConfig) -> None:
        self.config = config
        self.open = config.mode == "off"
        self.verdict = "off: always open" if self.open else "shut: no model yet"

    def judge(self, metrics: Mapping[str, float]) -> bool:
        """Open or close on `metrics` of `ModelTrainer.evaluate`; returns whether it is open now."""
        if self.config.mode == "off":
            return True
        reasons = [reason for reason, failed in self._checks(metrics) if failed]
        self.open = not reasons
        self.verdict = "open" if self.open else "shut: " + ", ".join(reasons)
        return self.open

    def _checks(self, metrics: Mapping[str, float]) -> list[tuple[str, bool]]:
        config = self.config
        held_out = metrics["holdout_rows"]
        if held_out < config.min_holdout:
            return [(f"{held_out:.0f} held-out transitions of {config.min_holdout}", True)]
        changed, frame, f1, false_ends = (
            metrics[key] for key in ("changed_error_ratio", "frame_error_ratio", "reward_f1", "false_ends")
        )
        # `not <=` instead of `>`: a NaN must shut the gate.
        return [
            (
                f"changed-pixel error {changed:.2f} of copy's, expected at most {config.max_changed_error}",
                not changed <= config.max_changed_error,
            ),
            (
                f"whole-frame error {frame:.2f} of copy's, expected at most {config.max_frame_error}",
                not frame <= config.max_frame_error,
            ),
            (
                f"reward F1 {f1:.2f}, expected at least {config.min_reward_f1}",
                not f1 >= config.min_reward_f1,
            ),
            (
                f"false ends {false_ends:.2f}, expected at most {config.max_false_ends}",
                not false_ends <= config.max_false_ends,
            ),
        ]
