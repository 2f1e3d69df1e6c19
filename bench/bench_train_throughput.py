"""Agent steps a second of whole training on Space Invaders, one core: act, step, store and learn.

A round of PPO is one rollout of 8 environments by 128 steps and what is learned from it; a round of DQN is
512 steps of one environment with an update in every fourth. Beside Stable-Baselines3 with the same wrappers,
network, settings and float32; the double form, which SB3 lacks, is shown under a case of its own.
"""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mbpo_fast.config import load_config
from mbpo_fast.training.loops import build_loop

ENV_ID = "SpaceInvadersNoFrameskip-v4"
LANES, ROLLOUT = 8, 128
DQN_STEPS, STARTS, REPLAY, EPSILON = 512, 1_000, 100_000, 0.05
Round = Callable[[], int]
"""Plays and learns; returns the gradient steps made."""


def ours(preset: str, iterations: int, overrides: dict[str, str], *, warm_up: int = 0) -> Round:
    equal = {"threads": "1", "device": "cpu", "env.id": ENV_ID, "agent.bf16": "false"}
    loop = build_loop(load_config([preset], equal | overrides))
    loop.collector.start(0)

    def play_and_learn(count: int = iterations) -> int:
        before = loop.agent.gradient_steps
        for _ in range(count):
            loop._iterate()
        return loop.agent.gradient_steps - before

    play_and_learn(warm_up)
    return play_and_learn


def ours_dqn(*, double: bool) -> Round:
    settings = {
        "env.num_envs": "1", "agent.double": str(double).lower(), "agent.learning_rate": "0.0001",
        "replay.capacity": str(REPLAY), "training.learning_starts": str(STARTS),
        "training.updates_per_step": "0.25",
        "agent.epsilon_start": str(EPSILON), "agent.epsilon_final": str(EPSILON),
    }  # fmt: skip
    return ours("ddqn-nature", DQN_STEPS, settings, warm_up=STARTS)


def sb3_env(lanes: int) -> Any:
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import VecFrameStack

    return VecFrameStack(make_atari_env(ENV_ID, n_envs=lanes, seed=0), n_stack=4)


def sb3_ppo() -> Round:
    from stable_baselines3 import PPO

    ppo = PPO(
        "CnnPolicy",
        sb3_env(LANES),
        n_steps=ROLLOUT,
        batch_size=LANES * ROLLOUT // 4,
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
        ppo.learn(LANES * ROLLOUT, reset_num_timesteps=False)
        return updates[0] - before

    return play_and_learn


def sb3_dqn() -> Round:
    from stable_baselines3 import DQN

    dqn = DQN(
        "CnnPolicy",
        sb3_env(1),
        learning_rate=1e-4,
        buffer_size=REPLAY,
        optimize_memory_usage=True,
        replay_buffer_kwargs={"handle_timeout_termination": False},
        learning_starts=STARTS,
        batch_size=32,
        train_freq=4,
        gradient_steps=1,
        target_update_interval=8_000,
        exploration_initial_eps=EPSILON,
        exploration_final_eps=EPSILON,
        policy_kwargs={"optimizer_kwargs": {"fused": True}},
        device="cpu",
        seed=0,
    )
    dqn.learn(STARTS, reset_num_timesteps=False)

    def play_and_learn() -> int:
        before = dqn._n_updates
        dqn.learn(DQN_STEPS, reset_num_timesteps=False)
        return int(dqn._n_updates - before)

    return play_and_learn


PPO_CASE, DQN_CASE = f"ppo {LANES}x{ROLLOUT}", "dqn, an update in 4 steps"
IMPLS: dict[tuple[str, str], Callable[[], Round]] = {
    (PPO_CASE, "mbpo_fast"): lambda: ours("ppo", ROLLOUT, {}),
    (PPO_CASE, "sb3"): sb3_ppo,
    (DQN_CASE, "mbpo_fast"): lambda: ours_dqn(double=False),
    (DQN_CASE, "sb3"): sb3_dqn,
    (f"double {DQN_CASE}", "mbpo_fast"): lambda: ours_dqn(double=True),
}
STEPS = {PPO_CASE: LANES * ROLLOUT, DQN_CASE: DQN_STEPS, f"double {DQN_CASE}": DQN_STEPS}
# Four passes over four minibatches, or every fourth step.
UPDATES = {PPO_CASE: 16, DQN_CASE: DQN_STEPS // 4, f"double {DQN_CASE}": DQN_STEPS // 4}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.benchmark(group="train_throughput")
@pytest.mark.parametrize(("case", "impl"), IMPLS)
def test_train_throughput(benchmark: Any, tag: Callable[..., None], case: str, impl: str, turn: int) -> None:
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        play_and_learn = IMPLS[case, impl]()
        # A row that only carries a reset is a step of the loop and none of the agent's.
        assert abs(play_and_learn() - UPDATES[case]) <= 3
        tag(impl, case, STEPS[case])
        assert abs(benchmark.pedantic(play_and_learn, rounds=2) - UPDATES[case]) <= 3
