"""Small worlds, policies and screens for the tests of the fused rollouts."""

import itertools
from typing import Any

import numpy as np
import torch

from mbpo_fast.agents import DDQN, PPO, SAC
from mbpo_fast.agents.ddqn import DDQNConfig
from mbpo_fast.agents.ppo import PPOConfig
from mbpo_fast.agents.sac import SACConfig
from mbpo_fast.models import ModelConfig, WorldModel

SIDE, ACTIONS = 36, 5

POLICIES: dict[str, dict[str, Any]] = {
    "plain": {"dueling": False},
    "dueling": {"dueling": True},
    "c51": {"distribution": "c51", "atoms": 51, "v_min": -3.0, "v_max": 5.0},
    "c51-plain": {"distribution": "c51", "atoms": 7, "dueling": False},
    "quantile": {"distribution": "quantile", "atoms": 16},
    "wide": {"width": 2.0},
    "impala": {"encoder": "impala", "distribution": "c51", "atoms": 21},
    "impala-narrow": {"encoder": "impala", "width": 0.5, "dueling": False},
    "sac": {},
    "ppo": {},
}


def policy_agent(name: str, side: int) -> Any:
    """An agent whose actions differ from state to state."""
    shape: dict[str, Any] = {
        "stack_size": 4,
        "frame_shape": (side, side),
        "num_actions": ACTIONS,
        "seed": 0,
    }
    learner: Any
    if name == "sac":
        learner = SAC(SACConfig(bf16=False, hidden=24), **shape)
    elif name == "ppo":
        learner = PPO(PPOConfig(bf16=False, hidden=24), **shape)
    else:
        learner = DDQN(DDQNConfig(bf16=False, hidden=24, **POLICIES[name]), **shape)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for weight in learner.network.parameters():
            if weight.ndim > 1:
                torch.nn.init.kaiming_normal_(weight, nonlinearity="linear")
            else:
                weight.normal_(0, 0.02)
    return learner


def agent(side: int = SIDE, **settings: Any) -> DDQN:
    config = DDQNConfig(bf16=False, hidden=24, **settings)
    return DDQN(config, stack_size=4, frame_shape=(side, side), num_actions=ACTIONS, seed=0)


def world(members: int, side: int = SIDE, *, head: float = 0.1, **settings: Any) -> WorldModel:
    """Random networks that change some pixels, and reward and end some of the time.

    `head`: deviation of the weights that changes and their odds come from.
    """
    small = {"arch": "grid", "context": 8, "outcome_width": 16, "bf16": False, "fc_dim": 20}
    config = ModelConfig(ensemble_size=members, num_elites=max(1, members - 1), **(small | settings))
    model = WorldModel(config, frame_shape=(side, side), num_actions=ACTIONS, seed=1)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for net in model.members:
            for name, weight in net.named_parameters():
                if name.startswith("head") or not weight.count_nonzero():
                    weight.normal_(0, head if name == "head.weight" else 0.1)
                if name.endswith("out.weight"):
                    weight.normal_(0, 1.0)  # rewards and ends differ from row to row
    model.elites = list(range(members))[::-1][: config.num_elites]
    frames = torch.from_numpy(contexts(16, config.context, side))
    said = [model.predict(frames, torch.arange(16) % ACTIONS, elite) for elite in model.elites]
    model.reward_threshold = float(np.quantile([1 - s[1][:, 1].numpy() for s in said], 0.45))
    model.end_threshold = float(np.quantile([s[2].numpy() for s in said], 0.75))
    return model


def contexts(rows: int, context: int, side: int = SIDE) -> np.ndarray:
    """Screens u8 [rows, context, side, side] where little moves, so that clocks tick below their limits."""
    rng = np.random.default_rng(rows)
    frames = np.repeat(rng.integers(0, 256, (rows, 1, side, side), np.uint8), context, axis=1)
    for row, first in itertools.product(range(rows), range(1, context)):
        y, x = rng.integers(0, side - 8, 2)
        frames[row, first:, y : y + 8, x : x + 8] += rng.integers(0, 60, (8, 8)).astype(np.uint8)
    frames[:, context // 2 :] ^= 0xFF  # one tick beyond the limit
    return frames
