"""Steps that ask all elites on a GPU, and in its emulation, beside torch and the kernels of the CPU."""

from typing import Any

import numpy as np
import pytest
from gpu_devices import EVERY_DEVICE, ONE_DEVICE
from rollout_parts import SIDE, agent, contexts, world

from mbpo_fast.data import ModelBuffer
from mbpo_fast.models import FusedRolloutEngine, GpuRolloutEngine, RolloutEngine, WorldModel
from mbpo_fast.models.uncertainty import UncertaintyConfig
from mbpo_fast.ops.gpu_device import Device

SMALL: dict[str, Any] = {"context": 5, "width": 16, "depth": 1, "outcome_width": 8}
MASKED = UncertaintyConfig(mask_share=0.3)
# bfloat16 products, as in test_gpu_rollout.py; a mean of elites is nearer.
DIFFER, DIFFER_MORE = 0.08, 3e-3
DOUBT_APART = 4e-3


def roll_out(engine: Any, model: WorldModel, rows: int, horizon: int) -> tuple[dict[str, np.ndarray], Any]:
    buffer = ModelBuffer(rows, context=4, horizon=horizon, frame_shape=(SIDE, SIDE))
    start = contexts(rows, model.config.context)
    written = engine.run(start, agent(), model, buffer, horizon=horizon, epsilon=1.0)
    assert written == buffer.num_transitions
    return buffer.export(0, rows), engine


def sure(members: int) -> WorldModel:
    """A model whose rewards and ends are far from their thresholds."""
    model = world(members, **SMALL)
    model.reward_threshold, model.end_threshold = 0.0, 1.0
    return model


@EVERY_DEVICE
@pytest.mark.parametrize("propagation", ["mean", "member"])
@pytest.mark.parametrize(("members", "rows"), [(3, 1), (6, 13)])
def test_a_step_equals_torchs(device: Device, propagation: Any, members: int, rows: int) -> None:
    asked: dict[str, Any] = {"propagation": propagation, "uncertainty": UncertaintyConfig(bonus=2.0)}
    model = sure(members)
    ours, engine = roll_out(GpuRolloutEngine(device, seed=3, **asked), model, rows, 1)
    spec, reference = roll_out(RolloutEngine(seed=3, **asked), model, rows, 1)
    assert engine.steps == reference.steps == 1
    for name in ("action", "member", "length", "terminated"):
        assert np.array_equal(ours[name], spec[name]), name
    apart = np.abs(ours["frame"].astype(int) - spec["frame"].astype(int))
    assert (apart > 0).mean() <= DIFFER
    assert (apart > 1).mean() <= DIFFER_MORE
    assert engine.metrics["disagreement"] == pytest.approx(reference.metrics["disagreement"], abs=DOUBT_APART)
    assert engine.metrics["disagreement"] > 10 * DOUBT_APART, "they disagree about something"
    assert engine.metrics["masked_share"] == 0
    # The bonus is what is left of the reward beside its sign.
    assert np.allclose(ours["reward"], spec["reward"], atol=2.0 * DOUBT_APART)


@ONE_DEVICE
def test_the_disagreement_of_equal_members_is_nothing(device: Device) -> None:
    model = sure(3)
    for member in model.members:
        member.load_state_dict(model.members[0].state_dict())
    asked: dict[str, Any] = {"uncertainty": UncertaintyConfig(measure=True)}
    ours, engine = roll_out(GpuRolloutEngine(device, seed=3, **asked), model, 9, 2)
    alone, _ = roll_out(GpuRolloutEngine(device, seed=3), model, 9, 2)
    assert engine.metrics == {"disagreement": 0.0, "masked_share": 0.0}
    assert all(np.array_equal(ours[name], alone[name]) for name in alone)


@EVERY_DEVICE
def test_the_drawn_members_word_is_that_of_a_step_without_asking(device: Device) -> None:
    """Bit for bit: asking the others changes nothing."""
    model = world(4, **SMALL)
    asked: dict[str, Any] = {"uncertainty": UncertaintyConfig(measure=True)}
    ours, _ = roll_out(GpuRolloutEngine(device, seed=3, **asked), model, 40, 4)
    alone, _ = roll_out(GpuRolloutEngine(device, seed=3), model, 40, 4)
    assert len(np.unique(alone["length"])) > 2
    assert all(np.array_equal(ours[name], alone[name]) for name in alone)


@EVERY_DEVICE
def test_the_most_doubtful_rows_are_masked(device: Device) -> None:
    """The lanes of most doubt stop, and the others move up: draws and shares as on the CPU."""
    model = sure(5)
    engines = (
        GpuRolloutEngine(device, seed=3, uncertainty=MASKED),
        FusedRolloutEngine(seed=3, uncertainty=MASKED),
    )
    (ours, engine), (spec, reference) = (roll_out(engine, model, 30, 4) for engine in engines)
    # 30 lanes, then 21, 15 and 11 of them: 9, 6, 4 and 3 are masked.
    assert np.bincount(ours["length"], minlength=5).tolist() == [9, 6, 4, 3, 8]
    assert engine.metrics["masked_share"] == reference.metrics["masked_share"] == 1 - 55 / 77
    assert np.array_equal(np.sort(spec["length"]), np.sort(ours["length"]))
    differ = (ours["length"] == 0) != (spec["length"] == 0)
    assert differ.sum() <= 2, "but where two doubts are close"


@ONE_DEVICE
def test_of_equal_doubts_the_earlier_rows_are_masked(device: Device) -> None:
    model = sure(1)
    ours, _ = roll_out(GpuRolloutEngine(device, seed=3, uncertainty=MASKED), model, 10, 1)
    assert ours["length"].tolist() == [0] * 3 + [1] * 7
