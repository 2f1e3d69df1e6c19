"""PPO beside Stable-Baselines3 on the same weights and rows, and against values computed by hand."""

import copy
from collections.abc import Callable, Iterator

import gymnasium
import numpy as np
import pytest
import torch

from mbpo_fast.agents import PPO, PolicyBatch, PPOConfig
from mbpo_fast.agents.acting import inverse_cumulative
from mbpo_fast.agents.ppo import _value_loss
from mbpo_fast.ops import Stream

SIDE, ACTIONS, ROWS = 36, 4, 8


def agent(**settings: object) -> PPO:
    return PPO(
        PPOConfig(**({"hidden": 512, "bf16": False} | settings)),
        stack_size=4,
        frame_shape=(SIDE, SIDE),
        num_actions=ACTIONS,
        seed=3,
    )


def perturb(net: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def batch(learner: PPO, seed: int = 0) -> PolicyBatch:
    """Rows whose ratios lie on both sides of the clip range."""
    rng = np.random.default_rng(seed)
    obs = rng.integers(0, 256, (ROWS, 4, SIDE, SIDE), np.uint8)
    decision = learner.decide(obs, seed=0, stream=Stream.EXPLORE, step=seed)
    noise = rng.normal(size=(4, ROWS)).astype(np.float32)
    return PolicyBatch(
        obs,
        decision.action,
        decision.log_prob + 0.2 * noise[0],
        decision.value + noise[1],
        noise[2],
        noise[3],
    )


class Screens(gymnasium.Env[np.ndarray, int]):
    """Spaces alone: the peer's rollout buffer is filled by hand."""

    observation_space = gymnasium.spaces.Box(0, 255, (4, SIDE, SIDE), np.uint8)
    action_space = gymnasium.spaces.Discrete(ACTIONS)


@pytest.fixture
def peer() -> Iterator[Callable[[PPO, PolicyBatch], dict[str, float]]]:
    """One update by Stable-Baselines3 from our learner's weights: its log, its weights by our names."""
    sb3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.logger import configure

    def update(learner: PPO, rows: PolicyBatch) -> dict[str, float]:
        config = learner.config
        with torch.random.fork_rng():
            other = sb3.PPO(
                "CnnPolicy",
                Screens(),
                n_steps=ROWS,
                batch_size=ROWS,
                n_epochs=1,
                learning_rate=config.learning_rate,
                clip_range=config.clip_range,
                ent_coef=config.entropy_coef,
                # Our error is halved, as in the authors' code.
                vf_coef=config.value_coef / 2,
                max_grad_norm=config.max_grad_norm,
                normalize_advantage=config.normalize_advantage,
                device="cpu",
            )
        other.set_logger(configure(None, []))
        names = peer_names()
        theirs = dict(other.policy.named_parameters())
        with torch.no_grad():
            for ours, name in names.items():
                theirs[name].copy_(learner.network.get_parameter(ours))
        buffer = other.rollout_buffer
        for i in range(ROWS):
            row = rows.obs[i][None], rows.action[i][None, None], np.zeros(1), np.zeros(1)
            buffer.add(*row, torch.tensor([rows.value[i]]), torch.tensor([rows.log_prob[i]]))
        buffer.advantages[:], buffer.returns[:] = rows.advantage[:, None], rows.returns[:, None]
        other.train()
        for ours, name in names.items():
            update.weights[ours] = theirs[name].detach()
        return dict(other.logger.name_to_value)

    update.weights = {}
    drawn_from = np.random.get_state()  # noqa: NPY002 - the peer shuffles with the global generator
    yield update
    np.random.set_state(drawn_from)  # noqa: NPY002


def peer_names() -> dict[str, str]:
    trunk = {"encoder.convs.0": "0", "encoder.convs.2": "2", "encoder.convs.4": "4"}
    layers = {ours: f"features_extractor.cnn.{index}" for ours, index in trunk.items()}
    layers |= {"hidden": "features_extractor.linear.0", "policy": "action_net", "value": "value_net"}
    return {f"{a}.{kind}": f"{b}.{kind}" for a, b in layers.items() for kind in ("weight", "bias")}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("normalize", [True, False])
def test_losses_and_weights_equal_stable_baselines(peer: Callable, normalize: bool) -> None:
    learner = agent(clip_value=False, normalize_advantage=normalize, learning_rate=1e-3, entropy_coef=0.05)
    perturb(learner.network)
    rows = batch(learner)
    before = copy.deepcopy(learner.policy_state_dict())
    with np.errstate(all="ignore"):
        theirs = peer(learner, rows)
    ours = {name: float(value) for name, value in learner.update(rows).items()}
    for name in ("policy_gradient_loss", "entropy_loss", "approx_kl", "clip_fraction", "loss"):
        assert ours[name] == pytest.approx(theirs[f"train/{name}"], rel=1e-4, abs=1e-6), name
    assert 2 * ours["value_loss"] == pytest.approx(theirs["train/value_loss"], rel=1e-4)
    assert 0 < ours["clip_fraction"] < 1
    assert ours["grad_norm"] > learner.config.max_grad_norm
    for name, weight in peer.weights.items():
        got = learner.network.get_parameter(name).detach()
        assert not torch.equal(got, before[name])
        # The first step of Adam is nearly a sign: a gradient that is rounding error may go either way.
        close = torch.isclose(got, weight, rtol=1e-4, atol=1e-6).float().mean()
        assert close > 0.999, name


def test_the_value_loss_is_the_worse_of_plain_and_clipped() -> None:
    value, old = torch.tensor([1.0, 1.0, 1.05, 2.0]), torch.tensor([0.0, 0.0, 1.0, 2.5])
    returns = torch.tensor([1.0, -1.0, 2.0, 2.45])
    plain = (value - returns).square()
    # Clipped to old +- 0.1: 0.1, 0.1, 1.05, 2.4.
    clipped = (torch.tensor([0.1, 0.1, 1.05, 2.4]) - returns).square()
    expected = [0.81, 4.0, 0.9025, 0.2025]
    torch.testing.assert_close(torch.max(plain, clipped), torch.tensor(expected))
    torch.testing.assert_close(_value_loss(value, old, returns, 0.1), torch.tensor(sum(expected) / 8))
    torch.testing.assert_close(_value_loss(value, old, returns, None), plain.mean() / 2)


def test_the_value_clip_is_a_switch_and_follows_the_clip_range() -> None:
    losses = []
    for settings in ({"clip_value": False}, {"clip_range": 0.1}, {"clip_range": 0.5}):
        learner = agent(**settings)
        losses.append(float(learner.update(batch(learner))["value_loss"]))
    assert len(set(losses)) == 3


def test_annealing_scales_the_step_and_the_range() -> None:
    learner = agent(anneal_clip_range=True)
    metrics = learner.update(batch(learner), remaining=0.25)
    assert float(metrics["learning_rate"]) == pytest.approx(0.25 * 2.5e-4)
    assert float(metrics["clip_range"]) == pytest.approx(0.025)
    frozen = agent()
    before = copy.deepcopy(frozen.policy_state_dict())
    frozen.update(batch(frozen), remaining=0.0)
    assert all(torch.equal(before[name], weight) for name, weight in frozen.policy_state_dict().items())


def test_a_minibatch_of_one_row_has_no_deviation_to_divide_by() -> None:
    learner = agent()
    rows = batch(learner)
    one = PolicyBatch(
        rows.obs[:1], rows.action[:1], rows.log_prob[:1], rows.value[:1], rows.advantage[:1], rows.returns[:1]
    )
    assert all(bool(torch.isfinite(value)) for value in learner.update(one).values())


def test_actions_are_drawn_by_the_cumulative_distribution() -> None:
    probabilities = np.array([[0.25, 0.0, 0.5, 0.25]], np.float32).repeat(6, axis=0)
    uniform = np.array([0.0, 0.2499, 0.25, 0.7499, 0.75, 1 - 2**-24], np.float32)
    assert inverse_cumulative(probabilities, uniform).tolist() == [0, 0, 2, 2, 3, 3]
    assert inverse_cumulative(probabilities * 0.9999, uniform)[-1] == 3


def test_frequencies_log_probabilities_and_reproducibility() -> None:
    learner = agent()
    perturb(learner.network)
    obs = np.repeat(batch(learner).obs[:1], 4000, axis=0)
    decision = learner.decide(obs, seed=7, stream=Stream.EXPLORE, step=5)
    with torch.no_grad():
        logits, value = learner.network(torch.from_numpy(obs[:1]))
    probabilities = logits.softmax(1)[0].numpy()
    share = np.bincount(decision.action, minlength=ACTIONS) / len(obs)
    assert np.abs(share - probabilities).max() < 0.035  # 4.5 standard deviations
    np.testing.assert_allclose(np.exp(decision.log_prob), probabilities[decision.action], rtol=1e-4)
    np.testing.assert_allclose(decision.value, float(value), rtol=1e-4)
    np.testing.assert_allclose(learner.values(obs[:1]), decision.value[:1], rtol=1e-4)
    act = learner.act(obs, 0.0, seed=7, stream=Stream.EXPLORE, step=5)
    assert np.array_equal(act, decision.action)
    assert not np.array_equal(act, learner.act(obs, 0.0, seed=7, stream=Stream.EXPLORE, step=6))


def test_epsilon_is_a_share_of_uniform_actions_on_top() -> None:
    learner = agent()
    with torch.no_grad():
        learner.network.policy.bias.copy_(torch.tensor([50.0, 0.0, 0.0, 0.0]))
    obs = np.repeat(batch(learner).obs[:1], 4000, axis=0)
    actions = learner.act(obs, 0.4, seed=7, stream=Stream.EXPLORE, step=5)
    share = np.bincount(actions, minlength=ACTIONS) / len(actions)
    assert np.abs(share - [0.7, 0.1, 0.1, 0.1]).max() < 0.035


def test_a_restored_learner_goes_on_with_the_same_bits() -> None:
    learner, twin = agent(hidden=16), agent(hidden=16)
    for step in range(3):
        learner.update(batch(learner, step), remaining=0.5)
    twin.load_state_dict(copy.deepcopy(learner.state_dict()))
    for step in range(3, 6):
        rows = batch(learner, step)
        learner.update(rows, remaining=0.4)
        twin.update(rows, remaining=0.4)
    assert twin.gradient_steps == learner.gradient_steps == 6
    for a, b in zip(learner.network.parameters(), twin.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_bfloat16_stays_near_float32() -> None:
    exact, rough = agent(), agent(bf16=True)
    rows = batch(exact)
    ours, other = exact.update(rows), rough.update(rows)
    for name in ("loss", "value_loss", "entropy_loss"):
        torch.testing.assert_close(other[name], ours[name], rtol=0.02, atol=0.01)
    assert not torch.equal(other["loss"], ours["loss"])
