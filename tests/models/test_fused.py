"""The fused rollout beside its torch spec: equal steps on equal inputs, equal draws, the same buffer."""

from typing import Any

import numpy as np
import pytest
import torch
from rollout_parts import ACTIONS, SIDE, agent, contexts, world

from mbpo_fast import _core
from mbpo_fast.data import ModelBuffer
from mbpo_fast.models import (
    FusedRolloutEngine,
    RolloutEngine,
    WorldModel,
)
from mbpo_fast.models.uncertainty import UncertaintyConfig
from mbpo_fast.nets.packing import pack_world

# Values nearer to one another than this may be ordered otherwise: float32 sums in another order.
CLOSE = 1e-4
FEW_PIXELS = 1e-4


EVERY_ISA = pytest.mark.usefixtures("isa")


def check_logits(model: WorldModel, ours: np.ndarray, *given: torch.Tensor) -> None:
    """Logits f32 [B, 4] of reward and end."""
    for row, (context, action, member) in enumerate(zip(*given, strict=True)):
        with torch.no_grad():
            said = model.members[int(member)](context[None], action[None])
        spec = torch.cat([said.reward_logits[0], said.end_logit]).numpy()
        assert np.abs(ours[row] - spec).max() < CLOSE * max(1.0, np.abs(spec).max())


def check_step(model: WorldModel, rows: int, side: int = SIDE) -> None:
    context = contexts(rows, model.config.context, side)
    rng = np.random.default_rng(1)
    action, member = rng.integers(0, ACTIONS, rows), rng.integers(0, len(model.members), rows)
    given = [torch.from_numpy(x) for x in (context, action, member)]
    frame, reward, terminated = (x.numpy() for x in model.step(*given))
    packed = pack_world(model.members, (side, side), context=context.shape[1], num_actions=ACTIONS)
    check_logits(model, packed(context, action, member)[1][:, 0, 0], *given)
    ours = np.zeros_like(frame), np.zeros_like(reward), np.zeros_like(terminated)
    packed.core.step(
        _core.ThreadPool(2),
        model.reward_threshold,
        model.end_threshold,
        context,
        action,
        member,
        *ours,
    )
    apart = np.abs(ours[0].astype(int) - frame.astype(int))
    masked = getattr(model.members[0], "head", None) is not None
    # A pixel whose log odds lie next to zero may change on one side only: one, in a batch that is small.
    assert (apart > 0).sum() <= max(1, FEW_PIXELS * apart.size)
    assert masked or apart.max() <= 1
    assert (frame != context[:, -1]).mean() > 0.02, "the step changes something"
    decided = [model.predict(given[0][i : i + 1], given[1][i : i + 1], member[i]) for i in range(rows)]
    probs = torch.cat([d[1] for d in decided]).numpy()
    end = torch.cat([d[2] for d in decided]).numpy()
    near = (np.abs(1 - probs[:, 1] - model.reward_threshold) < CLOSE) | (
        np.abs(probs[:, 2] - probs[:, 0]) < CLOSE
    )
    assert ((ours[1] == reward) | near).all()
    assert ((ours[2] == terminated) | (np.abs(end - model.end_threshold) < CLOSE)).all()


@EVERY_ISA
@pytest.mark.parametrize("members", [1, 2, 5, 7])
@pytest.mark.parametrize("rows", [1, 13])
@pytest.mark.parametrize("arch", ["clock", "grid", "nature"])
def test_a_step_equals_torch_for_every_ensemble(members: int, rows: int, arch: str) -> None:
    check_step(world(members, arch=arch, context=4, width=16, depth=1, outcome_width=8), rows)


@EVERY_ISA
@pytest.mark.parametrize(
    "settings",
    [
        {"arch": "clock"},
        {"arch": "clock", "context": 36, "width": 32, "outcome_width": 24},
        {"arch": "clock", "context": 6, "detail_frames": 4, "width": 20, "depth": 1, "clock_width": 9},
        {},
        {"context": 5, "width": 40, "depth": 3, "outcome_width": 20},
        {"context": 12, "width": 8, "depth": 2, "outcome_width": 4},
        {"arch": "nature", "context": 4},
        {"arch": "nature", "context": 9},
    ],
    ids=["clock", "clock-default", "clock-narrow", "grid", "wide", "narrow", "nature", "nature-9"],
)
def test_a_step_equals_torch_for_every_architecture(settings: dict) -> None:
    check_step(world(2, side=84, head=0.5, **settings), 3, side=84)


def roll_out(
    engine: Any, model: WorldModel, rows: int, horizon: int, epsilon: float = 0.5, runs: int = 1
) -> tuple[dict[str, np.ndarray], int]:
    buffer = ModelBuffer(4 * rows, context=4, horizon=15, frame_shape=(SIDE, SIDE))
    written = sum(
        engine.run(
            contexts(rows, model.config.context), agent(), model, buffer, horizon=horizon, epsilon=epsilon
        )
        for _ in range(runs)
    )
    assert written == buffer.num_transitions
    return buffer.export(0, runs * rows), engine.steps


@EVERY_ISA
@pytest.mark.parametrize("members", [1, 2, 5, 7])
def test_one_step_of_a_rollout_fills_the_buffer_as_torch_does(members: int) -> None:
    model = world(members, context=5, width=16, depth=1, outcome_width=8)
    ours, steps = roll_out(FusedRolloutEngine(seed=3, threads=2), model, 17, 1, runs=2)
    spec, spec_steps = roll_out(RolloutEngine(seed=3), model, 17, 1, runs=2)
    assert steps == spec_steps == 2
    for name in ("action", "reward", "terminated", "member", "length"):
        assert np.array_equal(ours[name], spec[name]), name
    assert spec["terminated"].any()
    assert spec["reward"].any()
    assert (ours["frame"] != spec["frame"]).mean() <= FEW_PIXELS


@pytest.mark.parametrize("arch", ["clock", "grid", "nature"])
def test_drift_over_many_steps(arch: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Printed, not asserted, but for the draws and the first step: a gray level apart may grow."""
    model = world(3, head=0.5, arch=arch, context=12, width=16, depth=1, outcome_width=8)
    model.end_threshold = 1.0  # draws are by lane, and an end that differs would shift the lanes
    lines = []
    for horizon in (1, 2, 5, 15):
        ours, steps = roll_out(FusedRolloutEngine(seed=3), model, 41, horizon, epsilon=1.0)
        spec, spec_steps = roll_out(RolloutEngine(seed=3), model, 41, horizon, epsilon=1.0)
        assert steps == spec_steps == horizon
        for name in ("action", "member", "length"):
            assert np.array_equal(ours[name], spec[name]), name
        frames = (branches["frame"][:, 3 + horizon].astype(int) for branches in (ours, spec))
        apart = np.abs(np.subtract(*frames))
        assert horizon > 1 or (apart > 0).mean() <= FEW_PIXELS
        lines.append(f"H {horizon}: {(apart > 0).mean():.4%} of the pixels, by {apart.mean():.5f} levels")
    with capsys.disabled():
        print(f"\n{arch} network, the last frame differs from torch's: {'; '.join(lines)}")


UNCERTAIN = [
    {"propagation": "mean"},
    {"uncertainty": UncertaintyConfig(measure=True)},
    {"uncertainty": UncertaintyConfig(mask_share=0.3, bonus=2.0)},
    {"propagation": "mean", "uncertainty": UncertaintyConfig(bonus=0.5, mask_share=0.1)},
]


@pytest.mark.parametrize("settings", UNCERTAIN)
@pytest.mark.parametrize("members", [3, 6])
def test_steps_of_all_elites_equal_torch(settings: dict, members: int) -> None:
    """With more rows than are asked about at a time."""
    model = world(members, context=4, width=16, depth=1, outcome_width=8)
    if "propagation" in settings:
        frames = torch.from_numpy(contexts(300, 4))
        _, reward_probs, end_probs = model.predict_elites(frames, torch.arange(300) % ACTIONS)
        model.reward_threshold = float(1 - reward_probs.mean(dim=0)[:, 1].median())
        model.end_threshold = float(end_probs.mean(dim=0).median())
    engines = FusedRolloutEngine(seed=3, threads=2, **settings), RolloutEngine(seed=3, **settings)
    (ours, steps), (spec, spec_steps) = (roll_out(engine, model, 300, 1) for engine in engines)
    assert steps == spec_steps
    # Two doubts next to each other at the mask's edge, or a reward or an end next to its threshold.
    near = np.abs(ours["reward"] - spec["reward"])[:, 0] > CLOSE
    for name in ("length", "terminated"):
        near |= (ours[name] != spec[name]).reshape(300, -1).any(axis=1)
    assert near.mean() <= 0.01
    assert 0 < spec["terminated"][:, 0].mean() < 1
    assert len(np.unique(spec["reward"][:, 0])) > 1
    for name in ("action", "member"):
        assert np.array_equal(ours[name][~near], spec[name][~near]), name
    assert (ours["frame"] != spec["frame"])[~near].mean() <= FEW_PIXELS
    assert engines[0].metrics.keys() == engines[1].metrics.keys()
    for name, value in engines[1].metrics.items():
        assert value > 0 or name == "masked_share"
        assert abs(engines[0].metrics[name] - value) < 1e-4


def test_masked_branches_stop_and_the_others_go_on() -> None:
    model = world(3, context=4, width=16, depth=1, outcome_width=8)
    model.end_threshold = 1.0
    settings = {"uncertainty": UncertaintyConfig(mask_share=0.25)}
    ours, _ = roll_out(FusedRolloutEngine(seed=3, **settings), model, 40, 4)
    spec, _ = roll_out(RolloutEngine(seed=3, **settings), model, 40, 4)
    assert np.array_equal(np.bincount(ours["length"]), np.bincount(spec["length"]))
    assert ours["length"].max() == 4


def test_ended_branches_stop() -> None:
    model = world(4, context=4, width=16, depth=1, outcome_width=8)
    branches, _ = roll_out(FusedRolloutEngine(seed=0), model, 60, 4)
    length, ended = branches["length"], branches["terminated"]
    assert len(np.unique(length)) > 1
    for row in range(60):
        assert ended[row, : length[row] - 1].sum() == 0
        assert length[row] == 4 or ended[row, length[row] - 1]


def test_draws_are_uniform_over_elites_and_actions() -> None:
    model = world(5, context=4, width=16, depth=1, outcome_width=4)
    model.end_threshold = 1.0
    branches, _ = roll_out(FusedRolloutEngine(seed=0), model, 300, 8, epsilon=1.0)
    members, actions = branches["member"][:, :8].ravel(), branches["action"][:, :8].ravel()
    for drawn, choices in ((members, model.elites), (actions, range(ACTIONS))):
        counts = np.bincount(drawn, minlength=max(choices) + 1)
        share = 1 / len(list(choices))
        assert counts.sum() == counts[list(choices)].sum() == 2400
        # Four standard deviations of a binomial share.
        assert np.abs(counts[list(choices)] / 2400 - share).max() < 4 * np.sqrt(share * (1 - share) / 2400)
    assert abs(np.corrcoef(members, actions)[0, 1]) < 4 / np.sqrt(2400)


def test_epsilon_is_the_share_of_random_actions() -> None:
    model = world(1, context=4, width=8, depth=1, outcome_width=4)
    model.end_threshold = 1.0
    greedy, _ = roll_out(FusedRolloutEngine(seed=0), model, 400, 1, epsilon=0.0)
    some, _ = roll_out(FusedRolloutEngine(seed=0), model, 400, 1, epsilon=0.4)
    differ = (greedy["action"][:, 0] != some["action"][:, 0]).mean()
    expected = 0.4 * (1 - 1 / ACTIONS)
    assert abs(differ - expected) < 4 * np.sqrt(expected * (1 - expected) / 400)


def test_threads_change_no_bit() -> None:
    model = world(3, context=4, width=16, depth=1, outcome_width=8)
    one, _ = roll_out(FusedRolloutEngine(seed=0, threads=1), model, 50, 3)
    four, _ = roll_out(FusedRolloutEngine(seed=0, threads=4), model, 50, 3)
    assert all(np.array_equal(one[name], four[name]) for name in one)
