"""Gradient steps as CUDA graphs: with a stand-in for graphs on the CPU, and with real ones on a GPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mbpo_fast.agents import DDQN, PPO, SAC, DDQNConfig, PolicyBatch, PPOConfig, SACConfig
from mbpo_fast.agents.learner import Learner
from mbpo_fast.data import Batch
from mbpo_fast.models import ModelConfig, WorldModel
from mbpo_fast.nets.cuda_graph import MOST_FORMS, WARMUP, GraphedStep, Results, make_graphs

SIDE, ACTIONS, ROWS = 36, 4, 8
SHAPE: dict[str, Any] = {"stack_size": 4, "frame_shape": (SIDE, SIDE), "num_actions": ACTIONS, "seed": 3}


def fingerprint(owner: Any) -> list[Any]:
    """What a graph of `owner`'s gradient step would have baked in: places of tensors, and plain numbers."""
    groups = owner.optimizer.param_groups
    weights = [weight for group in groups for weight in group["params"]]
    settings = [value for group in groups for name, value in sorted(group.items()) if name != "params"]
    state = [x for weight in weights for x in owner.optimizer.state.get(weight, {}).values()]
    baked = [x.data_ptr() if isinstance(x, torch.Tensor) else x for x in [*weights, *settings, *state]]
    return [*baked, getattr(owner, "change_scale", None)]


class Recorded:
    """Graphs that do the work again, where a real one would do it with what it was captured with."""

    def __init__(self) -> None:
        self.warmed = self.captured = 0
        self.owner: Any = None

    def warm(self, run: Callable[[], Results]) -> Results:
        self.warmed += 1
        return run()

    def capture(self, run: Callable[[], Results]) -> Callable[[], Results]:
        self.captured += 1
        baked = None if self.owner is None else fingerprint(self.owner)

        def repeat() -> Results:
            assert baked is None or fingerprint(self.owner) == baked, "a graph would not see this change"
            return run()

        return repeat


def test_inputs_are_copied_into_the_captured_memory_and_results_out_of_it() -> None:
    graphs, seen = Recorded(), []

    def step(x: torch.Tensor, y: torch.Tensor) -> Results:
        seen.append(x.data_ptr())
        return {"sum": x + y}

    graphed = GraphedStep(step, graphs)
    outs = [graphed(torch.full((3,), float(i)), torch.ones(3))["sum"] for i in range(WARMUP + 3)]
    assert [float(out[0]) for out in outs] == [i + 1.0 for i in range(WARMUP + 3)]
    assert (graphs.warmed, graphs.captured) == (WARMUP, 1)
    assert len(set(seen[WARMUP:])) == 1
    graphed(torch.zeros(4), torch.ones(4))
    assert (graphs.warmed, graphs.captured) == (WARMUP + 1, 1), "another form is captured on its own"
    graphed.forget()
    graphed(torch.zeros(3), torch.ones(3))
    assert graphs.warmed == WARMUP + 2


def test_more_forms_than_are_captured_are_called() -> None:
    graphs = Recorded()
    graphed = GraphedStep(lambda x: {"double": 2 * x}, graphs)
    for size in range(1, MOST_FORMS + 4):
        for _ in range(WARMUP + 2):
            assert graphed(torch.ones(size))["double"].sum() == 2 * size
    assert graphs.captured == MOST_FORMS


def test_graphs_need_a_gpu() -> None:
    assert make_graphs(False, torch.device("cpu")) is None
    with pytest.raises(ValueError, match="cuda_graphs: expected a CUDA device, got cpu"):
        make_graphs(True, torch.device("cpu"))


def transitions(step: int, weighted: bool = True) -> Batch:
    rng = np.random.default_rng(step)
    rows = Batch.empty(ROWS, 4, (SIDE, SIDE))
    rows.obs[:], rows.next_obs[:] = (rng.integers(0, 256, rows.obs.shape) for _ in range(2))
    rows.action[:] = rng.integers(0, ACTIONS, ROWS)
    rows.reward[:] = rng.normal(size=ROWS)
    rows.discount[:] = 0.9
    rows.weight[:] = rng.random(ROWS) if weighted else 1.0
    return rows


def on_policy(step: int) -> PolicyBatch:
    rng = np.random.default_rng(step)
    floats = (rng.normal(size=ROWS).astype(np.float32) for _ in range(4))
    obs = rng.integers(0, 256, (ROWS, 4, SIDE, SIDE), np.uint8)
    return PolicyBatch(obs, rng.integers(0, ACTIONS, ROWS), *floats)


def update(learner: Learner, step: int) -> dict[str, torch.Tensor]:
    if isinstance(learner, PPO):
        return learner.update(on_policy(step), remaining=1.0 - 0.04 * step)
    return learner.update(transitions(step))


MAKERS: dict[str, Callable[..., Learner]] = {
    "ddqn": lambda **how: DDQN(DDQNConfig(hidden=16, bf16=False, reset_every=9), **SHAPE, **how),
    "c51": lambda **how: DDQN(
        DDQNConfig(hidden=16, bf16=False, distribution="c51", prioritized=True, random_shift=2),
        **SHAPE,
        **how,
    ),
    "sac": lambda **how: SAC(SACConfig(hidden=16, bf16=False, target_period=3), **SHAPE, **how),
    "ppo": lambda **how: PPO(PPOConfig(hidden=16, bf16=False, anneal_learning_rate=True), **SHAPE, **how),
}


def world(**how: Any) -> WorldModel:
    config = ModelConfig(ensemble_size=2, num_elites=2, context=8, width=8, outcome_width=8, bf16=False)
    return WorldModel(config, frame_shape=(SIDE, SIDE), num_actions=ACTIONS, seed=0, **how)


def model_update(model: WorldModel, step: int) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(step)
    columns = (
        rng.integers(0, 256, (2, ROWS, 8, SIDE, SIDE), np.uint8),
        rng.integers(0, ACTIONS, (2, ROWS)),
        rng.integers(0, 256, (2, ROWS, SIDE, SIDE), np.uint8),
        rng.integers(-1, 2, (2, ROWS)).astype(np.float32),
        rng.random((2, ROWS)) < 0.2,
    )
    return model.update(*(torch.from_numpy(x).to(model.device) for x in columns))


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Graphs on the CPU, of the stand-in."""
    graphs = Recorded()
    for module in ("mbpo_fast.agents.learner", "mbpo_fast.models.ensemble"):
        monkeypatch.setattr(f"{module}.make_graphs", lambda wanted, _: graphs if wanted else None)
    # On a CPU torch's optimisers refuse to be captured.
    for name in ("Adam", "AdamW"):
        plain = getattr(torch.optim, name)
        monkeypatch.setattr(torch.optim, name, lambda *a, plain=plain, capturable=False, **k: plain(*a, **k))
    return graphs


@pytest.mark.parametrize("name", MAKERS)
def test_captured_updates_equal_plain_ones(name: str, recorded: Recorded) -> None:
    plain, graphed = MAKERS[name](), MAKERS[name](cuda_graphs=True)
    recorded.owner = graphed
    for step in range(2 * WARMUP + 12):
        if step == WARMUP + 2:
            # In the middle of captured ones, and before the reset of ddqn.
            for learner in (plain, graphed):
                learner.load_state_dict(learner.state_dict())
        expected, got = update(plain, step), update(graphed, step)
        assert expected.keys() == got.keys()
        for key, value in expected.items():
            torch.testing.assert_close(got[key], value, rtol=1e-6, atol=1e-7)
    assert plain.gradient_steps == graphed.gradient_steps == 2 * WARMUP + 12
    assert recorded.captured >= 1
    for (key, a), (_, b) in zip(
        plain.policy_state_dict().items(), graphed.policy_state_dict().items(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7, msg=key)


def test_a_captured_model_update_equals_a_plain_one(recorded: Recorded) -> None:
    plain, graphed = world(), world(cuda_graphs=True)
    recorded.owner = graphed
    for step in range(2 * WARMUP + 4):
        if step == WARMUP + 2:
            plain.change_scale = graphed.change_scale = 0.5
        expected, got = model_update(plain, step), model_update(graphed, step)
        assert all(torch.equal(value, got[key]) for key, value in expected.items())
    assert (recorded.warmed, recorded.captured) == (2 * WARMUP, 2)


@pytest.mark.cuda
@pytest.mark.parametrize("name", MAKERS)
def test_graphs_on_a_gpu_equal_plain_updates(name: str) -> None:
    plain, graphed = MAKERS[name](device="cuda"), MAKERS[name](device="cuda", cuda_graphs=True)
    for step in range(2 * WARMUP + 12):
        if step == WARMUP + 2:
            for learner in (plain, graphed):
                learner.load_state_dict(learner.state_dict())
        expected, got = update(plain, step), update(graphed, step)
        for key, value in expected.items():
            torch.testing.assert_close(
                got[key].cpu(), value.cpu(), rtol=1e-3, atol=1e-4, msg=f"{key}, {step}"
            )


@pytest.mark.cuda
def test_graphs_of_a_model_on_a_gpu_equal_plain_updates() -> None:
    plain, graphed = world(device="cuda"), world(device="cuda", cuda_graphs=True)
    for step in range(WARMUP + 12):
        expected, got = model_update(plain, step), model_update(graphed, step)
        for key, value in expected.items():
            torch.testing.assert_close(
                got[key].cpu(), value.cpu(), rtol=1e-3, atol=1e-4, msg=f"{key}, {step}"
            )
