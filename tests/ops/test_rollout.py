"""Rollouts of small layer lists, on every instruction set and in emulation; no torch, for the sanitizers.

That they say what torch says is shown in tests/models.
"""

from typing import Any

import numpy as np
import pytest
from gpu_devices import device_of
from layer_lists import ACTIONS, policy, world

from mbpo_fast import _core
from mbpo_fast.ops.gpu import GpuBranches, GpuNetwork, rollout

FRAME = (20, 28)
CONTEXT, SEEN, HORIZON, MEMBERS = 5, 4, 7, 3
SPEC: dict[str, Any] = {
    "horizon": HORIZON,
    "epsilon": 0.3,
    "samples": True,
    "elites": np.array([2, 0]),
    "mean": False,
    "measured": False,
    "changed_levels": 8,
    "mask_share": 0.0,
    "bonus": 0.0,
    "reward_threshold": 0.5,
    "end_threshold": 0.7,
    "seed": 3,
    "action_stream": 6,
    "member_stream": 7,
    "step": 11,
}
KINDS: dict[str, dict[str, Any]] = {
    "member": {},
    "greedy": {"samples": False, "epsilon": 0.0},
    "mean": {"mean": True},
    "measured": {"measured": True},
    "masked": {"measured": True, "mask_share": 0.3, "bonus": 0.5},
    "masked-mean": {"measured": True, "mean": True, "mask_share": 0.1},
}


pytestmark = pytest.mark.usefixtures("isa")


def starts(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).integers(0, 256, (rows, CONTEXT, *FRAME), np.uint8)


def roll_out(threads: int, rows: int = 40, **changes: Any) -> tuple[dict[str, np.ndarray], tuple]:
    """Two rollouts, the second partly over the first; the branches that are left, and what both said."""
    ring = _core.BranchRing(rows + rows // 2, SEEN, HORIZON, *FRAME)
    nets, pool = (policy().core, world(MEMBERS).core), _core.ThreadPool(threads)
    said = [
        _core.rollout(*nets, pool, starts(rows), ring, **(SPEC | changes | {"step": step}))
        for step in (11, 50)
    ]
    return ring.export_branches(ring.total - ring.size, ring.total), (*said, ring.num_transitions)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_no_bit(kind: str) -> None:
    """Enough rows for several blocks, and steps for the rows' windows to move."""
    expected, said = roll_out(1, **KINDS[kind])
    length = expected["length"]
    assert len(np.unique(length)) > 2, "some branches end before others"
    assert length.max() == HORIZON
    for threads in (2, 5):
        ours, ours_said = roll_out(threads, **KINDS[kind])
        assert ours_said == said
        assert all(np.array_equal(ours[name], expected[name]) for name in expected)


def test_draws_and_branches_are_those_of_the_spec() -> None:
    branches, _ = roll_out(2, rows=12)
    drawn = _core.random_integers(3, 7, 50, 12, 2, 0)
    assert np.array_equal(branches["member"][6:, 0], SPEC["elites"][drawn])
    assert np.array_equal(branches["frame"][6:, :SEEN], starts(12)[:, -SEEN:])
    assert set(np.unique(branches["action"])) == set(range(ACTIONS))
    assert (branches["frame"][6:, SEEN] != branches["frame"][6:, SEEN - 1]).mean() > 0.02


def test_the_share_of_the_most_doubtful_is_not_written() -> None:
    _, (whole, *_) = roll_out(1, measured=True)
    _, (masked, *_) = roll_out(1, measured=True, mask_share=0.5)
    written, _, imagined, doubt = masked
    assert doubt > 0
    assert 0.5 <= written / imagined < 0.6
    assert imagined < whole[2] == whole[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_share": 0.5}, r"only where the disagreement is measured, got 0.5, 0"),
        ({"bonus": 1.0}, r"only where the disagreement is measured, got 0, 1"),
        ({"measured": True, "mask_share": 1.0}, "0 <= mask_share < 1, got 1"),
        ({"changed_levels": 2**32 + 8}, "0 <= changed_levels <= 255, got 4294967304"),
        ({"changed_levels": -1}, "0 <= changed_levels <= 255, got -1"),
        ({"reward_threshold": np.nan}, "thresholds that are numbers, got nan, 0.7"),
        ({"end_threshold": np.nan}, "thresholds that are numbers, got 0.5, nan"),
        ({"horizon": HORIZON + 1}, "1 <= horizon <= the buffer's 7, got 8"),
        ({"elites": np.array([3])}, r"elites in \[0, 3\), got 3"),
    ],
)
def test_bad_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"^\[rollout\] expected .*" + message):
        roll_out(1, **changes)


def emulated(
    warps: int, rows: int, *, capacity: int | None = None, first: int = 0, **changes: Any
) -> dict[str, np.ndarray]:
    device = device_of(str(warps))
    nets = GpuNetwork(policy(), device), GpuNetwork(world(MEMBERS), device, predicts_frames=True)
    shape: dict[str, Any] = {"context": SEEN, "horizon": HORIZON, "frame_shape": FRAME}
    branches = GpuBranches(device, rows, capacity=rows if capacity is None else capacity, **shape)
    settings = SPEC | changes
    lengths = {name: settings.pop(name) for name in ("horizon", "epsilon")}
    rollout(*nets, device.put(starts(rows)), branches, first=first, settings=settings, **lengths)
    return branches.export(0, rows)


def test_a_step_does_not_write_over_what_it_reads() -> None:
    context = np.zeros((2, CONTEXT, *FRAME), np.uint8)
    frame = np.frombuffer(context.data, np.uint8, 2 * FRAME[0] * FRAME[1]).reshape(2, *FRAME)
    frame.flags.writeable = True
    columns = np.zeros(2, np.int64), np.zeros(2, np.int64), frame, np.zeros(2, np.float32), np.zeros(2, bool)
    with pytest.raises(ValueError, match=r"\[rollout\] expected frame apart from context, got overlapping"):
        world(1).core.step(_core.ThreadPool(1), 0.5, 0.5, context, *columns)


def test_memory_for_a_part_of_a_ring_has_no_place_behind_its_end(isa: str) -> None:
    assert emulated(1, 4, capacity=16)["length"].shape == (4,)
    with pytest.raises(ValueError, match=r"\[rollout\] expected at most 4 branches, got 4 from place 8 on"):
        emulated(1, 4, capacity=16, first=8)
    assert emulated(1, 4, first=2)["length"].shape == (4,), "a whole ring is written round its end"


def valid(branches: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What lies within the branches' lengths: the rest is never written."""
    steps = np.arange(HORIZON) < branches["length"][:, None]
    frames = np.arange(SEEN + HORIZON) < SEEN + branches["length"][:, None]
    columns = [branches[name][steps] for name in ("action", "reward", "terminated", "member")]
    return [branches["length"], branches["frame"][frames], *columns]


@pytest.mark.parametrize("kind", ["member", "mean", "masked"])
def test_warps_as_threads_change_no_bit(isa: str, kind: str) -> None:
    """Under the thread sanitizer a barrier that is missing from a kernel shows here."""
    if isa != _core.isas()[-1]:
        pytest.skip("the kernels for GPUs have no instruction sets")
    expected = emulated(1, 9, **KINDS[kind])
    assert len(np.unique(expected["length"])) > 1
    for warps in (2, 3):
        assert all(
            np.array_equal(a, b)
            for a, b in zip(valid(emulated(warps, 9, **KINDS[kind])), valid(expected), strict=True)
        )


@pytest.mark.parametrize("first", [-1, 4, 2**62])
def test_places_outside_the_branches_are_refused_on_a_gpu(first: int) -> None:
    with pytest.raises(ValueError, match=rf"\[rollout\] expected a first place in \[0, 4\), got {first}"):
        emulated(1, 4, first=first)


def test_sizes_that_no_memory_has_are_refused_on_a_gpu() -> None:
    device = device_of("1")
    nets = GpuNetwork(policy(), device), GpuNetwork(world(1), device, predicts_frames=True)
    for rows in (-1, 2**62):
        for ask in (
            nets[0].core.workspace_bytes,
            lambda n: device.module.workspace_bytes(*(x.core for x in nets), n, 0),
        ):
            with pytest.raises(ValueError, match=rf"\[rollout\] expected 0 to 16777216 rows, got {rows}"):
                ask(rows)
    with pytest.raises(ValueError, match=r"rows as an integer, got 1\.5"):
        nets[0].core.workspace_bytes(1.5)
    with pytest.raises(ValueError, match=r"a size below 2\*\*63 bytes, got more"):
        emulated(1, 4, capacity=2**61)
