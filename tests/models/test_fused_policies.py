"""The policies of every agent in the fused rollout, beside the agents themselves."""

from typing import Any

import numpy as np
import pytest
import torch
from rollout_parts import ACTIONS, POLICIES, SIDE, policy_agent

from mbpo_fast.data import ModelBuffer
from mbpo_fast.models import FusedRolloutEngine, ModelConfig, WorldModel
from mbpo_fast.nets.packing import pack_policy, samples_actions
from mbpo_fast.ops import Stream, random_uniform

# Two best values, or a draw and the edge between two actions, nearer than this may fall either way.
CLOSE = 1e-4


def observations(rows: int, side: int) -> np.ndarray:
    """Stacks of large blocks, so that a random network's best action differs from state to state."""
    half = -(-side // 2)
    blocks = np.random.default_rng(rows).integers(0, 256, (rows, 4, 2, 2), np.uint8)
    return np.ascontiguousarray(blocks.repeat(half, axis=2).repeat(half, axis=3)[:, :, :side, :side])


def values_of(learner: Any, obs: np.ndarray) -> np.ndarray:
    """Values, or log-probabilities, f32 [B, A]."""
    with torch.no_grad():
        said = learner.network(torch.from_numpy(obs))
    if isinstance(said, tuple):
        return torch.log_softmax(said[0], dim=1).numpy()
    return said.numpy()


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("side", [36, 38, 84])
@pytest.mark.parametrize("name", POLICIES)
def test_values_equal_torch(name: str, side: int) -> None:
    learner = policy_agent(name, side)
    obs = observations(5, side)
    values = pack_policy(learner.network, (side, side))(obs, *np.zeros((2, 5), np.int64))[0][:, 0, 0]
    spec = values_of(learner, obs)
    if samples_actions(learner.network):
        values = torch.log_softmax(torch.from_numpy(values), dim=1).numpy()
    assert np.ptp(spec, axis=1).min() > 0.01, "the values differ from one another"
    assert np.abs(values - spec).max() < 1e-5 * max(1.0, np.abs(spec).max())


def copying_world() -> WorldModel:
    """One member that changes nothing and never ends."""
    config = ModelConfig(
        arch="grid", context=4, width=4, depth=1, outcome_width=4, ensemble_size=1, num_elites=1
    )
    model = WorldModel(config, frame_shape=(SIDE, SIDE), num_actions=ACTIONS, seed=0)
    model.end_threshold = 1.0
    return model


def actions_of(learner: Any, obs: np.ndarray, epsilon: float) -> np.ndarray:
    buffer = ModelBuffer(len(obs), context=4, horizon=1, frame_shape=(SIDE, SIDE))
    FusedRolloutEngine(seed=3).run(obs, learner, copying_world(), buffer, horizon=1, epsilon=epsilon)
    return buffer.export(0, len(obs))["action"][:, 0]


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", POLICIES)
def test_actions_equal_the_agents(name: str, epsilon: float) -> None:
    learner, obs = policy_agent(name, SIDE), observations(400, SIDE)
    ours = actions_of(learner, obs, epsilon)
    spec = learner.act(obs, epsilon, seed=3, stream=Stream.ROLLOUT_ACTION, step=0)
    values = values_of(learner, obs)
    if samples_actions(learner.network):
        draw = random_uniform(3, Stream.ROLLOUT_ACTION, 0, len(obs), word=3)
        edges = np.exp(values.astype(np.float64)).cumsum(axis=1)
        near = (np.abs(edges - draw[:, None]) < CLOSE).any(axis=1)
    else:
        best = np.sort(values, axis=1)
        near = best[:, -1] - best[:, -2] < CLOSE * np.abs(best).max()
    assert near.mean() < 0.05
    assert len(np.unique(spec)) > 1
    assert np.array_equal(ours[~near], spec[~near])


@pytest.mark.parametrize("name", ["sac", "ppo"])
def test_sampled_actions_follow_their_probabilities(name: str) -> None:
    learner = policy_agent(name, SIDE)
    obs = np.repeat(observations(1, SIDE), 2000, axis=0)
    expected = np.exp(values_of(learner, obs[:1])[0])
    assert 0.02 < np.sort(expected)[-1] < 0.98
    counts = np.bincount(actions_of(learner, obs, 0.0), minlength=ACTIONS)
    # Chi-squared of 4 degrees of freedom: above 23.5 once in ten thousand seeds.
    assert ((counts - 2000 * expected) ** 2 / (2000 * expected)).sum() < 23.5
