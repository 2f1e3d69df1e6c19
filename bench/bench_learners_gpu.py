"""Gradient steps on a GPU: one CUDA graph each, in bfloat16, beside the same maths in eager float32 torch.

Collected only with a CUDA device and the extension. Batches lie in main memory, as PPO's do and replayed
ones may: their copy to the device is measured on both sides. Before the clock starts, both make the same
updates in float32 and must agree.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mbpo_fast.agents import DDQN, PPO, SAC, DDQNConfig, PolicyBatch, PPOConfig, SACConfig
from mbpo_fast.data import Batch
from mbpo_fast.nets.cuda_graph import WARMUP

pytestmark = pytest.mark.cuda

SHAPE: dict[str, Any] = {"stack_size": 4, "frame_shape": (84, 84), "num_actions": 6, "seed": 0}
UPDATES = 20
"""In a round, of which the last one is waited for."""
CASES: dict[str, tuple[type, type, int]] = {
    "ddqn_update": (DDQN, DDQNConfig, 32),
    "sac_update": (SAC, SACConfig, 64),
    "ppo_update": (PPO, PPOConfig, 256),
}


def learner(case: str, *, graphs: bool, bf16: bool) -> Any:
    kind, config, _ = CASES[case]
    return kind(config(bf16=bf16), **SHAPE, device="cuda", cuda_graphs=graphs)


def batch(case: str) -> Batch | PolicyBatch:
    rng = np.random.default_rng(0)
    rows = CASES[case][2]
    if case == "ppo_update":
        floats = (rng.normal(size=rows).astype(np.float32) for _ in range(4))
        obs = rng.integers(0, 256, (rows, 4, 84, 84), np.uint8)
        return PolicyBatch(obs, rng.integers(0, 6, rows), *floats)
    out = Batch.empty(rows, 4, (84, 84))
    out.obs[:], out.next_obs[:] = (rng.integers(0, 256, out.obs.shape) for _ in range(2))
    out.action[:] = rng.integers(0, 6, rows)
    out.reward[:] = rng.normal(size=rows)
    out.discount[:] = 0.97
    out.weight[:] = 1.0
    return out


def run(agent: Any, rows: Batch | PolicyBatch, updates: int = UPDATES) -> dict[str, torch.Tensor]:
    metrics: dict[str, torch.Tensor] = {}
    for _ in range(updates):
        metrics = agent.update(rows)
    torch.cuda.synchronize()
    return metrics


@pytest.mark.benchmark(group="learners_gpu")
@pytest.mark.parametrize("impl", ["mbpo_fast", "torch_eager"])
@pytest.mark.parametrize("case", CASES)
def test_updates_on_a_gpu(benchmark: Any, tag: Callable[..., None], case: str, impl: str, turn: int) -> None:
    rows = batch(case)
    graphed, eager = (
        run(learner(case, graphs=graphs, bf16=False), rows, WARMUP + 3) for graphs in (True, False)
    )
    for name, value in eager.items():
        torch.testing.assert_close(graphed[name].cpu(), value.cpu(), rtol=1e-2, atol=1e-3, msg=name)
    agent = learner(case, graphs=impl == "mbpo_fast", bf16=impl == "mbpo_fast")
    run(agent, rows)
    tag(impl, f"{case}, batch={CASES[case][2]}, {torch.cuda.get_device_name()}", UPDATES)
    benchmark.pedantic(run, args=(agent, rows), rounds=10)
