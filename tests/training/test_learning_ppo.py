"""PPO learns Catch."""

import time

import pytest

from mbpo_fast.config import load_config
from mbpo_fast.training.build import EVALUATION_SEED, build_eval_env, set_threads
from mbpo_fast.training.evaluation import evaluate_policy
from mbpo_fast.training.loops import build_loop

SECONDS = 180
CATCH = {
    "env.id": "Catch",
    "env.num_envs": "16",
    "threads": "1",
    "agent.hidden": "128",
    "agent.learning_rate": "0.0005",
    "agent.rollout_steps": "32",
    "agent.minibatches": "8",
    "agent.clip_range": "0.2",
    "training.total_steps": "60000",
    "evaluation.every": "1000",
}


@pytest.mark.learning
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_catch_is_learned(seed: int) -> None:
    """The policy, drawing its actions, returns 0.8 on average over 100 episodes, judged every 1,000 steps."""
    begin = time.monotonic()
    config = load_config(["ppo"], CATCH | {"seed": str(seed)})
    set_threads(config)
    loop = build_loop(config)
    loop.collector.start(seed)
    returns = [0.0]

    def evaluate() -> dict[str, float]:
        env = build_eval_env(config, num_envs=10, workers=0)
        result = evaluate_policy(
            loop.agent, [env], episodes=100, seed=seed + EVALUATION_SEED, epsilon=0.0, protocol="drawn"
        )
        returns.append(result.mean)
        return {}

    loop.train(
        on_log=lambda step, metrics: None,
        on_save=lambda step: None,
        on_evaluate=evaluate,
        interrupted=lambda: returns[-1] >= 0.8,
    )
    print(seed, loop.collector.env_steps, returns[-1], f"{time.monotonic() - begin:.0f} s")
    assert returns[-1] >= 0.8
    assert time.monotonic() - begin < SECONDS
