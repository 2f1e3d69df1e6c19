"""Every step of a fused branch, imagined once more by torch from the branch's own frames.

Over many steps two engines drift apart, so branches of one cannot be held against branches of another. But
given what the branch holds so far, its next step must be the one that torch makes of it.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from gpu_devices import ONE_DEVICE
from rollout_parts import ACTIONS, SIDE, contexts, policy_agent, world

from mbpo_fast.data import ModelBuffer
from mbpo_fast.models import FusedRolloutEngine, GpuRolloutEngine, WorldModel
from mbpo_fast.ops import Stream, random_integers
from mbpo_fast.ops.gpu_device import Device

ROWS, SEED, EPSILON = 40, 3, 0.2


@dataclass(frozen=True)
class Bounds:
    """How far an engine may be from torch."""

    pixels: float
    """Share of the pixels of a step that may differ."""
    close: float
    """Probabilities nearer to their threshold, and shares of the best value, that may fall to either side."""
    near: float
    """Share of the decisions that may be that near."""


FLOAT32 = Bounds(pixels=1e-4, close=1e-4, near=0.03)
BFLOAT16 = Bounds(pixels=0.1, close=0.03, near=0.3)


class Near:
    """Decisions that were checked, and those that were too near to tell."""

    def __init__(self) -> None:
        self.checked = self.near = 0

    def check(self, same: np.ndarray, near: np.ndarray) -> None:
        assert (same | near).all()
        self.checked += near.size
        self.near += int(near.sum())


def greedy_ties(policy: Any, stacks: np.ndarray, close: float) -> np.ndarray:
    with torch.no_grad():
        values = policy.q_values(torch.from_numpy(stacks)).numpy()
    best = np.sort(values, axis=1)
    return best[:, -1] - best[:, -2] < close * np.abs(values).max(axis=1)


def check_branches(engine: Any, model: WorldModel, horizon: int, bounds: Bounds) -> None:
    policy = policy_agent("plain", SIDE)
    buffer = ModelBuffer(ROWS, context=4, horizon=horizon, frame_shape=(SIDE, SIDE))
    history = contexts(ROWS, model.config.context)
    engine.run(history, policy, model, buffer, horizon=horizon, epsilon=EPSILON)
    branches = buffer.export(0, ROWS)
    alive, decisions, changed = np.arange(ROWS), Near(), 0.0
    for step in range(horizon):
        action, member, reward, ended = (
            branches[name][alive, step] for name in ("action", "member", "reward", "terminated")
        )
        stacks = np.ascontiguousarray(history[:, -4:])
        wanted = policy.act(stacks, EPSILON, seed=SEED, stream=Stream.ROLLOUT_ACTION, step=step)
        decisions.check(action == wanted, greedy_ties(policy, stacks, bounds.close))
        place = random_integers(SEED, Stream.ROLLOUT_MEMBER, step, len(alive), len(model.elites))
        assert np.array_equal(member, np.asarray(model.elites)[place])
        given = [torch.from_numpy(np.asarray(x, np.int64)) for x in (action, member)]
        spec, spec_reward, spec_ended = (x.numpy() for x in model.step(torch.from_numpy(history), *given))
        frame = branches["frame"][alive, 4 + step]
        assert (frame != spec).mean() <= bounds.pixels, step
        changed = max(changed, float((spec != history[:, -1]).mean()))
        probs, end = said_by(model, history, action, member)
        unsure = np.abs(1 - probs[:, 1] - model.reward_threshold) < bounds.close
        unsure |= np.abs(probs[:, 2] - probs[:, 0]) < bounds.close
        decisions.check(reward == spec_reward, unsure)
        decisions.check(ended == spec_ended, np.abs(end - model.end_threshold) < bounds.close)
        history = np.concatenate([history[~ended, 1:], frame[~ended, None]], axis=1)
        alive = alive[~ended]
    assert len(alive), "some branches reach the horizon"
    assert horizon == 1 or len(alive) < ROWS, "some do not"
    assert changed > 0.02
    assert decisions.near <= bounds.near * decisions.checked
    assert np.array_equal(branches["length"][alive], np.full(len(alive), horizon))


def said_by(
    model: WorldModel, context: np.ndarray, action: np.ndarray, member: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the reward classes and of the end, of each row's member."""
    probs, end = np.zeros((len(action), 3), np.float32), np.zeros(len(action), np.float32)
    for m in set(member.tolist()):
        rows = member == m
        said = model.predict(torch.from_numpy(context[rows]), torch.from_numpy(action[rows]), m)
        probs[rows], end[rows] = said[1].numpy(), said[2].numpy()
    return probs, end


@functools.cache
def ending_sometimes(arch: str, horizon: int) -> WorldModel:
    """Of forty branches some end on the way, and some are left after `horizon` steps."""
    # A context shorter than the longest branch: at its end every frame of it is imagined.
    model = world(3, arch=arch, context=6, width=16, depth=1, outcome_width=8)
    history, ends = contexts(ROWS, model.config.context), []
    rng = np.random.default_rng(0)
    for _ in range(horizon):
        action, member = rng.integers(0, ACTIONS, ROWS), rng.choice(model.elites, ROWS)
        ends.append(said_by(model, history, action, member)[1])
        frame = model.step(*(torch.from_numpy(x) for x in (history, action, member)))[0].numpy()
        history = np.concatenate([history[:, 1:], frame[:, None]], axis=1)
    model.end_threshold = float(np.quantile(ends, 1 - 0.5 / horizon))
    return model


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("horizon", [1, 2, 5, 15])
@pytest.mark.parametrize("arch", ["clock", "grid", "nature"])
def test_on_the_cpu(arch: str, horizon: int) -> None:
    model = ending_sometimes(arch, horizon)
    check_branches(FusedRolloutEngine(seed=SEED, threads=2), model, horizon, FLOAT32)


@ONE_DEVICE
@pytest.mark.parametrize("horizon", [1, 2, 5, 15])
@pytest.mark.parametrize("arch", ["clock", "grid", "nature"])
def test_on_a_gpu(device: Device, arch: str, horizon: int) -> None:
    model = ending_sometimes(arch, horizon)
    check_branches(GpuRolloutEngine(device, seed=SEED), model, horizon, BFLOAT16)
