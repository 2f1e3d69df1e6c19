"""Agent steps a second of whole training on Space Invaders, one core: act, step, store and learn.

A round is one rollout of 8 environments by 128 steps and what is learned from it, after a warm-up round.
Beside Stable-Baselines3 with the same wrappers, network and settings.
"""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mbpo_fast.config import load_config
from mbpo_fast.training.loops import build_loop

ENV_ID = "SpaceInvadersNoFrameskip-v4"
LANES, STEPS = 8, 128
UPDATES = 16
"""Gradient steps of a PPO round: 4 passes over 4 minibatches."""
Round = Callable[[], int]


def ours_ppo() -> Round:
    loop = build_loop(load_config(["ppo"], {"threads": "1", "env.id": ENV_ID}))
    loop.collector.start(0)

    def play_and_learn() -> int:
        before = loop.agent.gradient_steps
        for _ in range(STEPS):
            loop._iterate()
        return loop.agent.gradient_steps - before

    return play_and_learn


def sb3_ppo() -> Round:
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import VecFrameStack

    env = VecFrameStack(make_atari_env(ENV_ID, n_envs=LANES, seed=0), n_stack=4)
    ppo = PPO(
        "CnnPolicy",
        env,
        n_steps=STEPS,
        batch_size=LANES * STEPS // 4,
        n_epochs=4,
        learning_rate=2.5e-4,
        clip_range=0.1,
        ent_coef=0.01,
        policy_kwargs={"optimizer_kwargs": {"eps": 1e-5, "fused": True}},
        device="cpu",
        seed=0,
    )
    updates = [0]
    step = ppo.policy.optimizer.step

    def counted(*args: Any, **kwargs: Any) -> Any:
        updates[0] += 1
        return step(*args, **kwargs)

    ppo.policy.optimizer.step = counted

    def play_and_learn() -> int:
        before = updates[0]
        ppo.learn(LANES * STEPS, reset_num_timesteps=False)
        return updates[0] - before

    return play_and_learn


IMPLS = {"ppo 8x128": {"mbpo_fast": ours_ppo, "sb3": sb3_ppo}}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.benchmark(group="train_throughput")
@pytest.mark.parametrize(("case", "impl"), [(case, impl) for case, impls in IMPLS.items() for impl in impls])
def test_train_throughput(benchmark: Any, tag: Callable[..., None], case: str, impl: str, turn: int) -> None:
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        play_and_learn = IMPLS[case][impl]()
        assert play_and_learn() == UPDATES
        tag(impl, case, LANES * STEPS)
        assert benchmark.pedantic(play_and_learn, rounds=2) == UPDATES
