"""Networks in bfloat16 in the fused rollout: as near to float32 as torch's own bfloat16."""

from typing import Any

import numpy as np
import pytest
import torch
from rollout_parts import ACTIONS, SIDE, agent, contexts, policy_agent, world

from mbpo_fast.data import ModelBuffer
from mbpo_fast.models import FusedRolloutEngine, WorldModel
from mbpo_fast.nets.packing import pack_policy, pack_world
from mbpo_fast.nets.precision import autocast

pytestmark = pytest.mark.usefixtures("fast_bf16")


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def said_by_torch(
    model: WorldModel, context: np.ndarray, action: np.ndarray, member: int, bf16: bool
) -> list[np.ndarray]:
    """Changes (and their log odds), and logits, of a member."""
    given = torch.from_numpy(context), torch.from_numpy(action)
    with torch.no_grad(), autocast(model.device, bf16):
        said = model.members[member](*given)
    pixels = [x for x in (said.mask_logit, said.delta) if x is not None]
    logits = torch.cat([said.reward_logits, said.end_logit[:, None]], dim=1)
    return [torch.stack(pixels).float().numpy(), logits.float().numpy()]


@pytest.mark.parametrize(
    "settings",
    [{"arch": "clock", "context": 36}, {"arch": "grid"}, {"arch": "nature", "context": 4}],
    ids=lambda settings: settings["arch"],
)
def test_rounding_costs_about_what_it_costs_in_torch(settings: dict) -> None:
    # What rounding costs differs by a factor of three from one member's weights to the next.
    members, rows = 4, 12
    model = world(members, side=84, head=0.5, **settings)
    context, action = contexts(rows, model.config.context, 84), np.arange(rows) % ACTIONS
    losses: list[list[float]] = []
    for member in range(members):
        theirs = [said_by_torch(model, context, action, member, bf16) for bf16 in (False, True)]
        ours = [
            pack_world(model.members, (84, 84), context=context.shape[1], num_actions=ACTIONS, bf16=bf16)(
                context, action, np.full(rows, member)
            )
            for bf16 in (False, True)
        ]
        losses.append([rms(said[1][i] - said[0][i]) for i in (0, 1) for said in (ours, theirs)])
    pixels, pixels_torch, logits, logits_torch = np.sqrt(np.mean(np.square(losses), axis=0))
    # Winograd's sums lose more in a convolution; maps between layers, which torch rounds too, lose nothing.
    assert 0 < pixels <= 1.2 * pixels_torch
    assert 0 < logits <= 3.0 * logits_torch


@pytest.mark.parametrize("name", ["dueling", "c51", "impala", "sac", "ppo"])
def test_values_of_a_policy_in_bf16(name: str) -> None:
    learner = policy_agent(name, 84)
    obs = contexts(30, 4, 84)
    values = []
    for bf16 in (False, True):
        learner.network.bf16 = bf16
        values.append(pack_policy(learner.network, (84, 84))(obs, *np.zeros((2, 30), np.int64))[0])
    assert 0 < rms(values[1] - values[0]) < 0.02 * rms(values[0])


def frames_of(model: WorldModel, policy: Any) -> dict[str, np.ndarray]:
    buffer = ModelBuffer(64, context=4, horizon=1, frame_shape=(SIDE, SIDE))
    start = contexts(40, model.config.context)
    FusedRolloutEngine(seed=3).run(start, policy, model, buffer, horizon=1, epsilon=0.5)
    return buffer.export(0, 40)


def test_a_rollout_multiplies_as_its_networks_do() -> None:
    model, policy = world(2, head=0.5), agent()
    plain = frames_of(model, policy)
    model.bf16 = True
    rounded = frames_of(model, policy)
    apart = np.abs(plain["frame"][:, 4].astype(int) - rounded["frame"][:, 4])
    assert 0 < (apart > 0).mean() < 0.2
    # Random networks that change half of the pixels by up to 255 levels: some odds lie next to zero.
    assert (apart > 1).mean() < 0.05
    for name in ("action", "member"):
        assert np.array_equal(plain[name], rounded[name])


def test_networks_are_packed_anew_for_another_precision() -> None:
    model, policy = world(1, head=0.5), agent()
    engine = FusedRolloutEngine(seed=3)
    outs = []
    for bf16 in (False, True, False):
        model.bf16 = bf16
        buffer = ModelBuffer(64, context=4, horizon=1, frame_shape=(SIDE, SIDE))
        engine.steps = 0
        engine.run(contexts(40, model.config.context), policy, model, buffer, horizon=1, epsilon=0.5)
        outs.append(buffer.export(0, 40)["frame"])
    assert np.array_equal(outs[0], outs[2])
    assert not np.array_equal(outs[0], outs[1])
