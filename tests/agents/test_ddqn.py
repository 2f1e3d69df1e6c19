"""DDQN against hand-computed targets and a slow reference."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mbpo_fast.agents import DDQN, DDQNConfig
from mbpo_fast.agents.off_policy import augmented_stacks
from mbpo_fast.ops import Stream

SIDE, ACTIONS, ROWS = 36, 4, 8


@pytest.mark.parametrize("double", [True, False])
def test_target_equals_the_papers_row_by_row(double: bool, agent, batch, perturb) -> None:
    learner = agent(double=double)
    perturb(learner.target)
    rows = batch()
    next_obs = torch.from_numpy(rows.next_obs)
    with torch.no_grad():
        online, target = learner.online(next_obs), learner.target(next_obs)
    expected = []
    for i in range(ROWS):
        best = int((online if double else target)[i].argmax())
        expected.append(rows.reward[i] + rows.discount[i] * float(target[i, best]))
    got = learner._td_target(next_obs, torch.from_numpy(rows.reward), torch.from_numpy(rows.discount))[:, 0]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float32))
    assert not torch.equal(online.argmax(1), target.argmax(1)), "the two networks must disagree somewhere"


def test_update_is_one_adamw_step_on_the_huber_loss(agent, batch, perturb) -> None:
    learner = agent(target_tau=0.25, weight_decay=0.1, max_grad_norm=0.5)
    perturb(learner.target)
    online, target = copy.deepcopy(learner.online), copy.deepcopy(learner.target)
    rows = batch()
    td_target = learner._td_target(
        torch.from_numpy(rows.next_obs), torch.from_numpy(rows.reward), torch.from_numpy(rows.discount)
    )[:, 0]
    q_values = online(torch.from_numpy(rows.obs))[torch.arange(ROWS), torch.from_numpy(rows.action)]
    loss = F.smooth_l1_loss(q_values, td_target)
    optimizer = torch.optim.AdamW(online.parameters(), lr=1e-4, eps=1.5e-4, weight_decay=0.1)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(online.parameters(), 0.5)
    optimizer.step()
    metrics = learner.update(rows)
    torch.testing.assert_close(metrics["loss"], loss.detach())
    for got, expected in zip(learner.online.parameters(), online.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)
    for got, old, new in zip(
        learner.target.parameters(), target.parameters(), online.parameters(), strict=True
    ):
        torch.testing.assert_close(got, 0.75 * old + 0.25 * new, rtol=1e-5, atol=1e-6)


def test_target_waits_for_its_period(agent, batch) -> None:
    learner = agent(target_period=3, target_tau=1.0)
    before = [p.clone() for p in learner.target.parameters()]
    for step in range(3):
        changed = any(not torch.equal(a, b) for a, b in zip(before, learner.target.parameters(), strict=True))
        assert not changed, f"changed after {step} updates"
        learner.update(batch(step))
    for a, b in zip(learner.target.parameters(), learner.online.parameters(), strict=True):
        assert torch.equal(a, b)


def test_epsilon_greedy_frequencies_and_reproducibility(agent, batch) -> None:
    learner = agent()
    obs = np.repeat(batch().obs[:1], 4000, axis=0)
    greedy = int(learner.q_values(torch.from_numpy(obs[:1])).argmax())
    actions = learner.act(obs, 0.4, seed=7, stream=Stream.EXPLORE, step=5)
    share = np.bincount(actions, minlength=ACTIONS) / len(actions)
    expected = np.full(ACTIONS, 0.1)
    expected[greedy] += 0.6
    assert np.abs(share - expected).max() < 0.035  # 4.5 standard deviations
    assert np.array_equal(actions, learner.act(obs, 0.4, seed=7, stream=Stream.EXPLORE, step=5))
    assert not np.array_equal(actions, learner.act(obs, 0.4, seed=7, stream=Stream.EXPLORE, step=6))
    assert (learner.act(obs, 0.0, seed=7, stream=Stream.EXPLORE, step=5) == greedy).all()


@pytest.mark.parametrize("act_with_target", [True, False])
def test_acts_with_the_network_of_the_setting(act_with_target: bool, agent, batch, perturb) -> None:
    learner = agent(act_with_target=act_with_target)
    perturb(learner.target)
    obs = torch.from_numpy(batch().obs)
    expected = (learner.target if act_with_target else learner.online)(obs)
    torch.testing.assert_close(learner.q_values(obs), expected.detach())


def test_every_update_shifts_anew(agent, batch, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []

    def spy(*args: object, **kwargs: object) -> object:
        steps.append(kwargs["step"])
        return augmented_stacks(*args, **kwargs)

    monkeypatch.setattr("mbpo_fast.agents.ddqn.agent.augmented_stacks", spy)
    learner = agent(random_shift=2)
    learner.update(batch())
    learner.update(batch())
    assert steps == [0, 1]


def test_epsilon_decays_linearly_to_its_floor(agent) -> None:
    learner = agent(epsilon_start=1.0, epsilon_final=0.1, epsilon_steps=100)
    assert [learner.epsilon(step) for step in (0, 50, 100, 1000)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_a_restored_learner_goes_on_with_the_same_bits(agent, batch) -> None:
    learner = agent(random_shift=2)
    for step in range(3):
        learner.update(batch(step))
    twin = agent(random_shift=2)
    twin.load_state_dict(copy.deepcopy(learner.state_dict()))
    for step in range(3, 6):
        learner.update(batch(step))
        twin.update(batch(step))
    for a, b in zip(learner.online.parameters(), twin.online.parameters(), strict=True):
        assert torch.equal(a, b)


def test_same_seed_same_weights_other_seed_others(agent) -> None:
    first, second = agent(), agent()
    assert all(
        torch.equal(a, b) for a, b in zip(first.online.parameters(), second.online.parameters(), strict=True)
    )
    other = DDQN(
        DDQNConfig(hidden=16, bf16=False), stack_size=4, frame_shape=(SIDE, SIDE), num_actions=ACTIONS, seed=4
    )
    assert not torch.equal(next(first.online.parameters()), next(other.online.parameters()))
