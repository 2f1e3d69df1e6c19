"""The core's values of a target network that rests are torch's, after whatever changes its weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mbpo_fast import _core
from mbpo_fast.agents import DDQN
from mbpo_fast.agents.ddqn.frozen_target import LEAST_REST
from mbpo_fast.errors import UsageError

RESTS: dict[str, Any] = {"target_tau": 1.0, "target_period": LEAST_REST}


def check_values(learner: DDQN, obs: torch.Tensor) -> torch.Tensor:
    assert learner._frozen_target is not None
    values = learner._frozen_target(obs)
    with torch.no_grad():
        spec = learner.target(obs)
    assert (values - spec).abs().max() <= 1e-5 * spec.abs().max()
    assert spec.std(dim=0).min() > 1e-3, "values differ from row to row"
    return values


def test_values_follow_every_change_of_the_target(
    agent: Callable, batch: Callable, perturb: Callable
) -> None:
    learner, other = agent(**RESTS, reset_every=LEAST_REST + 5), agent(**RESTS)
    obs = torch.from_numpy(batch().next_obs)
    perturb(learner.target)
    seen = [check_values(learner, obs)]
    for step in range(LEAST_REST + 6):  # a copy of the online network, then a reset
        learner.update(batch(step))
        if step in (LEAST_REST - 1, LEAST_REST + 5):
            seen.append(check_values(learner, obs))
    for _ in range(2):  # once is what the learner's target began with
        perturb(other.target)
    learner.load_state_dict(other.state_dict())
    seen.append(check_values(learner, obs))
    perturb(other.target)
    learner.load_policy_state_dict(other.target.state_dict())
    seen.append(check_values(learner, obs))
    for i, values in enumerate(seen):
        assert all(not torch.equal(values, earlier) for earlier in seen[:i]), f"change {i} was missed"


def test_targets_are_packed_once_between_changes(agent: Callable, batch: Callable) -> None:
    learner = agent(**RESTS)
    learner.update(batch(0))
    packed = learner._frozen_target._packed
    learner.update(batch(1))
    assert learner._frozen_target._packed is packed


@pytest.mark.parametrize("double", [True, False])
def test_a_td_target_equals_torchs(double: bool, agent: Callable, batch: Callable, perturb: Callable) -> None:
    learner, spec = agent(double=double, **RESTS), agent(double=double, target_tau=1.0)
    assert spec._frozen_target is None
    for net in (learner.target, spec.target):
        perturb(net)
    rows = batch()
    given = [torch.from_numpy(x) for x in (rows.next_obs, rows.reward, rows.discount)]
    torch.testing.assert_close(learner._td_target(*given), spec._td_target(*given), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("fast_bf16")
def test_values_of_a_target_in_bf16(agent: Callable, batch: Callable, perturb: Callable) -> None:
    learner = agent(**RESTS, bf16=True)
    perturb(learner.target)
    obs = torch.from_numpy(batch().next_obs)
    learner.target.bf16 = False
    with torch.no_grad():
        spec = learner.target(obs)
    learner.target.bf16 = True
    lost = learner._frozen_target(obs) - spec
    assert 0 < lost.square().mean().sqrt() < 0.02 * spec.square().mean().sqrt()


def test_a_target_that_is_not_finite_ends_the_run_in_one_line(agent: Callable, batch: Callable) -> None:
    learner = agent(**RESTS)
    with torch.no_grad():
        next(learner.target.parameters())[0] = float("nan")
    with pytest.raises(UsageError, match="training has diverged; a smaller agent"):
        learner.update(batch())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (RESTS, True),
        (RESTS | {"target_period": LEAST_REST - 1}, False),
        (RESTS | {"target_tau": 0.5}, False),
        (RESTS | {"distribution": "c51"}, False),
        (RESTS | {"bf16": True}, _core.has_fast_bf16()),
    ],
)
def test_the_core_is_asked_where_it_is_faster(settings: dict, expected: bool, agent: Callable) -> None:
    assert (agent(**settings)._frozen_target is not None) == expected
