"""Discrete SAC against hand-computed values and a slow reference written from the paper."""

import copy
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from mbpo_fast.agents import SAC, SACConfig
from mbpo_fast.agents.off_policy import augmented_stacks
from mbpo_fast.data import Batch
from mbpo_fast.ops import Stream

SIDE, ACTIONS, ROWS = 36, 4, 6
DOCS = Path(__file__).parents[2] / "docs" / "logging.md"
PAPER = {"twin": "min", "entropy_in_target": True, "target_entropy_scale": 0.98, "alpha": 0.7}
FORMS = {"default": {}, "paper": PAPER}
RATES = {"actor_learning_rate": 1e-3, "critic_learning_rate": 2e-3, "alpha_learning_rate": 3e-3}


def agent(seed: int = 3, **settings: object) -> SAC:
    config = SACConfig(**({"hidden": 16, "bf16": False} | RATES | settings))
    return SAC(config, stack_size=4, frame_shape=(SIDE, SIDE), num_actions=ACTIONS, seed=seed)


def perturbed(learner: SAC, scale: float = 0.1) -> SAC:
    """Every network moved away from the others, the policy away from the uniform one."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for net in (learner.actor, learner.critics, learner.targets):
            for parameter in net.parameters():
                parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return learner


def alpha(learner: SAC) -> float:
    return math.exp(float(learner.log_alpha.detach()))


def batch(seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    rows = Batch.empty(ROWS, 4, (SIDE, SIDE))
    rows.obs[:] = rng.integers(0, 256, rows.obs.shape)
    rows.next_obs[:] = rng.integers(0, 256, rows.obs.shape)
    rows.action[:] = rng.integers(0, ACTIONS, ROWS)
    rows.reward[:] = rng.normal(size=ROWS)
    rows.discount[:] = 0.9 * (rng.random(ROWS) < 0.7)
    return rows


def outputs(net: nn.Module, last: str, obs: np.ndarray) -> Tensor:
    """What a float64 copy of a policy or a critic says, layer by layer."""
    x = net.encoder.convs(torch.from_numpy(obs.astype(np.float64) / 255.0))
    hidden = net.hidden if isinstance(net.hidden, nn.Linear) else net.hidden[0]
    return getattr(net, last)(torch.relu(hidden(x)))


class Reference:
    """Sections 2 and 3 of the paper, one row and one action at a time, every loss by its own passes."""

    def __init__(self, learner: SAC) -> None:
        self.config = learner.config
        self.actor = copy.deepcopy(learner.actor).double()
        self.critics = [copy.deepcopy(net).double() for net in learner.critics]
        self.targets = [copy.deepcopy(net).double() for net in learner.targets]
        self.log_alpha = learner.log_alpha.detach().double().requires_grad_()
        self.alpha = math.exp(float(learner.log_alpha.detach()))
        self.target_entropy = self.config.target_entropy_scale * math.log(ACTIONS)

    def policy(self, obs: np.ndarray) -> Tensor:
        logits = outputs(self.actor, "logits", obs)
        return torch.stack([row.exp() / sum(x.exp() for x in row) for row in logits])

    def joined(self, critics: list[nn.Module], obs: np.ndarray) -> Tensor:
        first, second = (outputs(net, "advantage", obs) for net in critics)
        return torch.minimum(first, second) if self.config.twin == "min" else (first + second) / 2

    def td_target(self, rows: Batch) -> Tensor:
        pi, q_values = self.policy(rows.next_obs), self.joined(self.targets, rows.next_obs)
        bonus = self.alpha if self.config.entropy_in_target else 0.0
        target = []
        for i in range(ROWS):
            value = sum(pi[i, a] * (q_values[i, a] - bonus * pi[i, a].log()) for a in range(ACTIONS))
            target.append(float(rows.reward[i]) + float(rows.discount[i]) * value)
        return torch.stack(target).detach()

    def critic_loss(self, rows: Batch) -> Tensor:
        target = self.td_target(rows)
        q_values = [outputs(net, "advantage", rows.obs) for net in self.critics]
        errors = [(q[i, rows.action[i]] - target[i]) ** 2 for q in q_values for i in range(ROWS)]
        return 0.5 * sum(errors) / ROWS

    def actor_loss(self, rows: Batch) -> Tensor:
        pi, q_values = self.policy(rows.obs), self.joined(self.critics, rows.obs).detach()
        cells = [(i, a) for i in range(ROWS) for a in range(ACTIONS)]
        return sum(pi[c] * (self.alpha * pi[c].log() - q_values[c]) for c in cells) / ROWS

    def alpha_loss(self, rows: Batch) -> Tensor:
        pi, price = self.policy(rows.obs).detach(), self.log_alpha.exp()
        cells = [(i, a) for i in range(ROWS) for a in range(ACTIONS)]
        return sum(pi[c] * -price * (pi[c].log() + self.target_entropy) for c in cells) / ROWS

    def update(self, rows: Batch) -> dict[str, float]:
        critics = [p for net in self.critics for p in net.parameters()]
        parts = [
            ("critic_loss", self.critic_loss(rows), critics, self.config.critic_learning_rate),
            ("actor_loss", self.actor_loss(rows), [*self.actor.parameters()], RATES["actor_learning_rate"]),
            ("ent_coef_loss", self.alpha_loss(rows), [self.log_alpha], RATES["alpha_learning_rate"]),
        ]
        for _, loss, parameters, rate in parts:
            optimizer = torch.optim.Adam(parameters, lr=rate, eps=self.config.adam_eps)
            optimizer.zero_grad()
            loss.backward()
            if parameters[0] is not self.log_alpha:
                nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm)
            optimizer.step()
        return {name: float(loss.detach()) for name, loss, _, _ in parts}


def assert_near(got: nn.Module, expected: nn.Module) -> None:
    for a, b in zip(got.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=1e-4, atol=3e-6)


@pytest.mark.parametrize("form", FORMS)
def test_target_equals_the_papers(form: str) -> None:
    learner = perturbed(agent(**FORMS[form]))
    rows = batch()
    tensors = (torch.from_numpy(x) for x in (rows.next_obs, rows.reward, rows.discount))
    expected = Reference(learner).td_target(rows)
    torch.testing.assert_close(learner._td_target(*tensors).double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_update_equals_the_papers_three_steps(form: str) -> None:
    learner = perturbed(agent(max_grad_norm=0.5, **FORMS[form]))
    reference, rows = Reference(learner), batch()
    targets = copy.deepcopy(learner.targets)
    metrics = learner.update(rows)
    assert float(metrics["ent_coef"]) == pytest.approx(reference.alpha)
    for name, loss in reference.update(rows).items():
        assert float(metrics[name]) == pytest.approx(loss, rel=1e-4), name
    assert float(metrics["grad_norm"]) > 0.5 < float(metrics["actor_grad_norm"]), "clipping must be at work"
    assert_near(learner.actor, reference.actor)
    assert_near(learner.critics, nn.ModuleList(reference.critics))
    assert alpha(learner) == pytest.approx(math.exp(float(reference.log_alpha.detach())), rel=1e-5)
    for got, old, new in zip(
        learner.targets.parameters(), targets.parameters(), learner.critics.parameters(), strict=True
    ):
        torch.testing.assert_close(got, 0.995 * old + 0.005 * new, rtol=1e-5, atol=1e-6)


def constant(learner: SAC, pi: list[float], twins: list[list[float]]) -> SAC:
    """Networks that say the same of every state."""
    with torch.no_grad():
        learner.actor.logits.bias.copy_(torch.tensor(pi).log())
        for net, values in zip([*learner.critics, *learner.targets], [*twins, *twins], strict=True):
            net.advantage.weight.zero_()
            net.advantage.bias.copy_(torch.tensor(values))
    return learner


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        # Policy (1/2, 1/4, 1/8, 1/8); twins (1, 2, 0, 0) and (3, 0, 0, 8): entropy 1.75 log 2.
        ({"twin": "mean"}, 0.5 * 2 + 0.25 * 1 + 0.125 * 4),
        ({"twin": "min"}, 0.5 * 1),
        ({"twin": "min", "entropy_in_target": True, "alpha": 0.5}, 0.5 + 0.5 * 1.75 * math.log(2)),
    ],
)
def test_value_of_the_next_state_by_hand(settings: dict[str, object], value: float) -> None:
    learner = constant(
        agent(**settings), [0.5, 0.25, 0.125, 0.125], [[1.0, 2.0, 0.0, 0.0], [3.0, 0.0, 0.0, 8.0]]
    )
    next_obs = torch.from_numpy(batch().next_obs[:2])
    got = learner._td_target(next_obs, torch.tensor([1.0, -1.0]), torch.tensor([0.9, 0.0]))
    torch.testing.assert_close(got, torch.tensor([1.0 + 0.9 * value, -1.0]))


def test_alpha_follows_the_entropy_to_its_target() -> None:
    # A fresh policy is uniform: its entropy is above every target below 1, and the price of entropy falls.
    learner = agent(target_entropy_scale=0.5)
    metrics = learner.update(batch())
    assert float(metrics["entropy"]) == pytest.approx(math.log(ACTIONS), rel=1e-6)
    assert float(metrics["ent_coef"]) == pytest.approx(0.05, rel=1e-6)
    assert alpha(learner) < 0.05
    certain = constant(agent(target_entropy_scale=0.5), [0.97, 0.01, 0.01, 0.01], 2 * [4 * [0.0]])
    certain.update(batch())
    assert alpha(certain) > 0.05


@pytest.mark.parametrize(("scale", "bound"), [(0.0, 0.04), (1.0, 0.06)])
def test_alpha_stays_between_its_bounds(scale: float, bound: float) -> None:
    learner = agent(target_entropy_scale=scale, alpha_min=0.04, alpha_max=0.06, alpha_learning_rate=0.5)
    if scale == 1.0:
        constant(learner, [0.97, 0.01, 0.01, 0.01], 2 * [4 * [0.0]])
    learner.update(batch())
    assert alpha(learner) == pytest.approx(bound, rel=1e-6)


def test_alpha_is_fixed_without_tuning() -> None:
    learner = agent(tune_alpha=False, alpha=0.3, alpha_learning_rate=0.5)
    learner.update(batch())
    assert float(learner.update(batch())["ent_coef"]) == pytest.approx(0.3)


def test_settings_refuse_an_alpha_outside_its_bounds() -> None:
    with pytest.raises(ValidationError, match="alpha_min <= alpha <= alpha_max"):
        SACConfig(alpha=2.0, alpha_max=1.0)


def test_target_waits_for_its_period() -> None:
    learner = perturbed(agent(target_period=3, target_tau=1.0))
    before = [p.clone() for p in learner.targets.parameters()]
    for step in range(3):
        changed = any(
            not torch.equal(a, b) for a, b in zip(before, learner.targets.parameters(), strict=True)
        )
        assert not changed, f"changed after {step} updates"
        learner.update(batch(step))
    for a, b in zip(learner.targets.parameters(), learner.critics.parameters(), strict=True):
        assert torch.equal(a, b)


def test_actions_are_drawn_from_the_policy_and_epsilon() -> None:
    learner = constant(agent(), [0.5, 0.3, 0.2, 1e-30], 2 * [4 * [0.0]])
    obs = np.repeat(batch().obs[:1], 8000, axis=0)
    actions = learner.act(obs, 0.0, seed=7, stream=Stream.EXPLORE, step=5)
    share = np.bincount(actions, minlength=ACTIONS) / len(actions)
    assert np.abs(share - [0.5, 0.3, 0.2, 0.0]).max() < 0.025  # 4.5 standard deviations
    assert share[3] == 0
    mixed = learner.act(obs, 0.4, seed=7, stream=Stream.EXPLORE, step=5)
    share = np.bincount(mixed, minlength=ACTIONS) / len(mixed)
    assert np.abs(share - [0.4, 0.28, 0.22, 0.1]).max() < 0.025
    # What epsilon leaves alone is what the policy drew, and the uniform actions do not follow it.
    assert 0.6 < (mixed == actions).mean() < 0.8
    uniform = learner.act(obs, 1.0, seed=7, stream=Stream.EXPLORE, step=5)
    joint = np.histogram2d(actions, uniform, bins=[np.arange(4), np.arange(5)])[0] / len(obs)
    assert np.abs(joint - np.outer([0.5, 0.3, 0.2], np.full(4, 0.25))).max() < 0.02


def test_draws_depend_on_seed_stream_and_step_alone() -> None:
    learner = perturbed(agent(), 0.01)
    obs = np.repeat(batch().obs, 50, axis=0)
    actions = learner.act(obs, 0.1, seed=7, stream=Stream.EXPLORE, step=5)
    torch.rand(3)
    assert np.array_equal(actions, learner.act(obs, 0.1, seed=7, stream=Stream.EXPLORE, step=5))
    assert np.array_equal(actions[:100], learner.act(obs[:100], 0.1, seed=7, stream=Stream.EXPLORE, step=5))
    for other in (
        {"seed": 8, "stream": Stream.EXPLORE, "step": 5},
        {"seed": 7, "stream": Stream.ROLLOUT_ACTION, "step": 5},
        {"seed": 7, "stream": Stream.EXPLORE, "step": 6},
    ):
        assert not np.array_equal(actions, learner.act(obs, 0.1, **other))


def test_constants_that_the_loop_asks_for() -> None:
    learner = agent(n_step=5, gamma=0.97, epsilon=0.02)
    assert (learner.n_step, learner.gamma) == (5, 0.97)
    assert [learner.epsilon(step) for step in (0, 10_000)] == [0.02, 0.02]


def test_every_update_shifts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def spy(*args: object, **kwargs: object) -> object:
        calls.append((args[1], kwargs["seed"], kwargs["step"]))
        return augmented_stacks(*args, **kwargs)

    monkeypatch.setattr("mbpo_fast.agents.sac.augmented_stacks", spy)
    learner = agent(random_shift=2)
    learner.update(batch())
    learner.update(batch())
    assert calls == [(2, 3, 0), (2, 3, 1)]


def weights(learner: SAC) -> list[Tensor]:
    nets = (learner.actor, learner.critics, learner.targets)
    return [p for net in nets for p in net.parameters()] + [learner.log_alpha]


@pytest.mark.parametrize("tune_alpha", [True, False])
def test_a_restored_learner_goes_on_with_the_same_bits(tune_alpha: bool) -> None:
    learner, twin = (agent(seed, random_shift=2, tune_alpha=tune_alpha) for seed in (3, 4))
    twin.seed = 3  # the seed is a setting of the run, not a state
    for step in range(3):
        learner.update(batch(step))
    twin.load_state_dict(copy.deepcopy(learner.state_dict()))
    for step in range(3, 6):
        learner.update(batch(step))
        twin.update(batch(step))
    assert all(torch.equal(a, b) for a, b in zip(weights(learner), weights(twin), strict=True))
    assert learner.gradient_steps == twin.gradient_steps == 6


def test_the_policy_alone_acts_the_same() -> None:
    learner, other = perturbed(agent(), 0.01), agent(seed=4)
    other.load_policy_state_dict(learner.policy_state_dict())
    obs = np.repeat(batch().obs, 20, axis=0)
    draws = {"seed": 7, "stream": Stream.EXPLORE, "step": 5}
    assert np.array_equal(learner.act(obs, 0.0, **draws), other.act(obs, 0.0, **draws))
    with pytest.raises(RuntimeError):
        other.load_policy_state_dict(learner.critics[0].state_dict())


def test_same_seed_same_weights_and_the_twins_differ() -> None:
    first, second, other = agent(), agent(), agent(seed=4)
    first.update(batch())
    second.update(batch())
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))
    assert not torch.equal(next(first.actor.parameters()), next(other.actor.parameters()))
    one, two = (critic.encoder.convs[0].weight for critic in first.critics)
    assert not torch.equal(one, two)


def test_every_number_it_logs_is_documented() -> None:
    rows = re.findall(r"^\| `train/(\w+)` \| .*\bSAC\b", DOCS.read_text(encoding="utf-8"), re.M)
    assert sorted(rows) == sorted(agent().update(batch()))
