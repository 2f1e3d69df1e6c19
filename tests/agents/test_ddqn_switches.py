"""Switches of DDQN, each alone: annealing, distributions, priorities, resets, encoders, SB3's loss."""

import copy

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mbpo_fast.agents import DDQN, DDQNConfig
from mbpo_fast.agents.ddqn.schedules import gamma_at, n_step_at
from mbpo_fast.nets import QNetwork

SIDE, ACTIONS, ROWS = 36, 4, 8

SWITCHES = [
    {"distribution": "c51", "atoms": 21},
    {"distribution": "quantile", "atoms": 9, "dueling": False},
    {"prioritized": True},
    {"encoder": "impala", "width": 0.25},
    {"width": 0.5},
    {"n_step_start": 10, "gamma_start": 0.9, "anneal_steps": 4},
    {"reset_every": 2, "distribution": "c51"},
    {"random_shift": 4, "weight_decay": 0.1},
]


def weights(net: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in net.parameters()]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_n_step_falls_exponentially_and_the_horizon_rises() -> None:
    config = DDQNConfig(n_step_start=10, n_step=3, gamma_start=0.97, gamma=0.997, anneal_steps=100)
    # 10 * 0.3 ** (1/2) = 5.48; 1 - 0.03 * 0.1 ** (1/2) = 0.99051
    assert [n_step_at(config, step) for step in (0, 50, 100, 1000)] == [10, 5, 3, 3]
    assert [gamma_at(config, step) for step in (0, 50, 100)] == pytest.approx([0.97, 0.9905132, 0.997])
    assert gamma_at(config, 1000) == 0.997
    steps = [n_step_at(config, step) for step in range(101)]
    assert sorted(steps, reverse=True) == steps


def test_each_annealing_stands_alone() -> None:
    config = DDQNConfig(n_step_start=10, n_step=3, gamma=0.9, anneal_steps=100)
    assert (n_step_at(config, 0), gamma_at(config, 0)) == (10, 0.9)
    config = DDQNConfig(n_step=3, gamma_start=0.8, gamma=0.9, anneal_steps=100)
    assert (n_step_at(config, 0), gamma_at(config, 0)) == (3, pytest.approx(0.8))


def test_annealing_begins_again_at_a_reset_until_the_last() -> None:
    config = DDQNConfig(n_step_start=8, n_step=2, anneal_steps=10, reset_every=20, reset_until=45)
    assert [n_step_at(config, step) for step in (0, 10, 19, 20, 30, 40, 50, 60, 80)] == [
        8, 2, 2, 8, 2, 8, 2, 2, 2,
    ]  # fmt: skip


def test_the_agent_tells_the_schedule_of_its_own_gradient_step(agent, batch) -> None:
    learner = agent(n_step_start=10, n_step=1, gamma_start=0.5, gamma=0.9, anneal_steps=2)
    seen = []
    for step in range(3):
        seen.append((learner.n_step, round(learner.gamma, 4)))
        learner.update(batch(step))
    assert seen == [(10, 0.5), (3, round(1 - 0.05**0.5, 4)), (1, 0.9)]


@pytest.mark.parametrize("bad", [{"v_min": 1.0, "v_max": 1.0}, {"gamma": 1.0, "gamma_start": 0.9}])
def test_settings_that_mean_nothing_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        DDQNConfig(**bad)


@pytest.mark.parametrize("dueling", [True, False])
def test_values_are_the_mean_of_the_histogram(dueling: bool, agent, batch, perturb) -> None:
    learner = agent(distribution="c51", atoms=5, v_min=-1.0, v_max=3.0, dueling=dueling)
    perturb(learner.online)
    obs = torch.from_numpy(batch().obs)
    with torch.no_grad():
        probabilities = learner.online.outputs(obs).softmax(2).tolist()
        values = learner.online(obs)
    expected = [
        [sum(p * z for p, z in zip(a, range(-1, 4), strict=True)) for a in row] for row in probabilities
    ]
    torch.testing.assert_close(values, torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_dueling_outputs_of_every_atom_are_centred(batch) -> None:
    net = QNetwork(4, (SIDE, SIDE), ACTIONS, hidden=8, atoms=3)
    obs = torch.from_numpy(batch().obs)
    with torch.no_grad():
        features = net.encoder(obs)
        value = net.value(torch.relu(net.hidden[1](features)))
        torch.testing.assert_close(net.outputs(obs).mean(1), value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("distribution", ["none", "c51", "quantile"])
def test_double_target_takes_the_distribution_of_the_online_networks_action(
    distribution: str, agent, batch, perturb
) -> None:
    learner = agent(distribution=distribution, atoms=5)
    perturb(learner.target)
    rows = batch()
    tensors = [torch.from_numpy(x) for x in (rows.next_obs, rows.reward, rows.discount)]
    with torch.no_grad():
        best = learner.online(tensors[0]).argmax(1).tolist()
        outputs = learner.target.outputs(tensors[0])
    following = torch.stack([outputs[row, action] for row, action in enumerate(best)])
    expected = learner.value_loss.target(following, *tensors[1:])
    torch.testing.assert_close(learner._td_target(*tensors), expected)
    assert best != learner.target(tensors[0]).argmax(1).tolist(), "the networks must disagree somewhere"


def test_weights_scale_the_loss_of_their_rows(agent, batch) -> None:
    rows = batch()
    rows.weight[:] = np.linspace(0.1, 1.0, ROWS, dtype=np.float32)
    learner = agent(prioritized=True)
    chosen = learner.online(torch.from_numpy(rows.obs))[torch.arange(ROWS), torch.from_numpy(rows.action)]
    target = learner._td_target(
        torch.from_numpy(rows.next_obs), torch.from_numpy(rows.reward), torch.from_numpy(rows.discount)
    )[:, 0]
    error = (chosen.detach() - target).abs()
    huber = torch.where(error <= 1, 0.5 * error**2, error - 0.5)
    metrics = learner.update(rows)
    assert float(metrics["loss"]) == pytest.approx(
        float((huber * torch.from_numpy(rows.weight)).mean()), rel=1e-5
    )
    torch.testing.assert_close(learner.priorities, error + 1e-10)


def test_priorities_only_where_they_are_asked_for(agent, batch) -> None:
    learner = agent()
    learner.update(batch())
    assert learner.priorities is None


def test_a_reset_shrinks_the_encoder_and_replaces_the_head(agent, batch, perturb) -> None:
    learner = agent(reset_every=1, reset_keep=0.75, learning_rate=1e-12, target_tau=1e-6)
    perturb(learner.target)
    online, target = copy.deepcopy(learner.online), copy.deepcopy(learner.target)
    learner.update(batch())
    fresh = weights(learner.online.hidden)
    assert same(fresh, weights(learner.target.hidden)), "both heads are the same fresh one"
    assert not same(fresh, weights(online.hidden))
    pairs = zip(
        weights(online.encoder), weights(learner.online.encoder),
        weights(target.encoder), weights(learner.target.encoder), strict=True,
    )  # fmt: skip
    for old, new, old_target, new_target in pairs:
        # Both moved a quarter of the way to the same fresh weights.
        torch.testing.assert_close(new - 0.75 * old, new_target - 0.75 * old_target, atol=1e-5, rtol=1e-4)
        assert not torch.equal(new, old)
    assert not learner.optimizer.state


def test_resets_differ_from_each_other_and_stop_at_reset_until(agent, batch) -> None:
    learner = agent(reset_every=2, reset_until=5)
    heads = []
    for step in range(8):
        before = weights(learner.online.advantage)
        learner.update(batch(step))
        moved = max(
            float((a - b).abs().max()) for a, b in zip(before, weights(learner.online.advantage), strict=True)
        )
        if moved > 1e-3:
            heads.append((step + 1, weights(learner.online.advantage)))
    assert [step for step, _ in heads] == [2, 4]
    assert not same(heads[0][1], heads[1][1])


@pytest.mark.parametrize("settings", SWITCHES, ids=lambda s: "-".join(s))
def test_a_restored_learner_goes_on_with_the_same_bits(settings: dict[str, object], agent, batch) -> None:
    learner, twin = agent(**settings), agent(**settings)
    for step in range(4):  # a reset falls on the last of them
        learner.update(batch(step))
    twin.load_state_dict(copy.deepcopy(learner.state_dict()))
    for step in range(4, 7):
        first, second = learner.update(batch(step)), twin.update(batch(step))
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert same(weights(learner.online), weights(twin.online))
    assert (learner.n_step, learner.gamma) == (twin.n_step, twin.gamma)


@pytest.mark.parametrize("settings", SWITCHES, ids=lambda s: "-".join(s))
def test_a_policy_acts_from_its_weights_alone(settings: dict[str, object], agent, batch, perturb) -> None:
    learner, frozen = agent(**settings), agent(**settings)
    perturb(learner.target)
    frozen.load_policy_state_dict(learner.policy_state_dict())
    obs = torch.from_numpy(batch().obs)
    assert torch.equal(learner.q_values(obs), frozen.q_values(obs))


@pytest.mark.parametrize("encoder", ["nature", "impala"])
@pytest.mark.parametrize("width", [0.25, 2.0])
def test_width_multiplies_the_channels(encoder: str, width: float, batch) -> None:
    net = QNetwork(4, (SIDE, SIDE), ACTIONS, hidden=8, encoder=encoder, width=width)
    channels = [m.out_channels for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    plain = QNetwork(4, (SIDE, SIDE), ACTIONS, hidden=8, encoder=encoder)
    assert channels == [m.out_channels * width for m in plain.modules() if isinstance(m, torch.nn.Conv2d)]
    assert net(torch.from_numpy(batch().obs)).shape == (ROWS, ACTIONS)


def test_impala_has_the_papers_layers() -> None:
    net = QNetwork(4, (84, 84), ACTIONS, hidden=8, encoder="impala")
    convs = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convs] == [16] * 5 + [32] * 10
    assert net.encoder.out_features == 32 * 11 * 11
    zero_convs = copy.deepcopy(net)
    for conv in [m for m in zero_convs.modules() if isinstance(m, torch.nn.Conv2d)]:
        conv.bias.data.zero_()
    for block in [m for m in zero_convs.modules() if type(m).__name__ == "ResidualBlock"]:
        block.second.weight.data.zero_()
        x = torch.randn(2, block.first.in_channels, 5, 5, generator=torch.Generator().manual_seed(0))
        assert torch.equal(block(x), x), "a block whose last layer is zero changes nothing"


def test_dqn_update_equals_stable_baselines3(agent, batch, perturb) -> None:
    """Double off: the same batch and weights give SB3's loss and, by Adam, SB3's next weights."""
    sb3 = pytest.importorskip("stable_baselines3")
    gym = pytest.importorskip("gymnasium")
    rows = batch()
    rows.discount[:] = 0.99 * (rows.discount > 0)
    learner = agent(double=False, dueling=False, hidden=512, learning_rate=1e-3, adam_eps=1e-8)
    perturb(learner.target)

    class Still(gym.Env):
        observation_space = gym.spaces.Box(0, 255, (4, SIDE, SIDE), np.uint8)
        action_space = gym.spaces.Discrete(ACTIONS)

    peer = sb3.DQN(
        "CnnPolicy", Still(), learning_rate=1e-3, buffer_size=ROWS, batch_size=ROWS, gamma=0.99,
        learning_starts=0, device="cpu", target_update_interval=10**9,
    )  # fmt: skip
    for own, other in ((learner.online, peer.q_net), (learner.target, peer.q_net_target)):
        with torch.no_grad():
            for p, q in zip(own.parameters(), other.parameters(), strict=True):
                q.copy_(p)
    data = sb3.common.type_aliases.ReplayBufferSamples(
        torch.from_numpy(rows.obs), torch.from_numpy(rows.action)[:, None], torch.from_numpy(rows.next_obs),
        torch.from_numpy(rows.discount == 0)[:, None].float(), torch.from_numpy(rows.reward)[:, None],
    )  # fmt: skip
    peer.replay_buffer.sample = lambda *args, **kwargs: data
    peer._logger = sb3.common.logger.configure(None, [])
    peer.train(gradient_steps=1, batch_size=ROWS)
    metrics = learner.update(rows)
    assert float(metrics["loss"]) == pytest.approx(peer.logger.name_to_value["train/loss"], rel=1e-5)
    # SB3 optimises with Adam; ours is AdamW without decay, the same step. Our first convolution sums in
    # another order, and Adam's first step magnifies what that does to gradients near zero.
    for own, other in zip(learner.online.parameters(), peer.q_net.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=2e-5)


def test_other_seed_other_resets(batch) -> None:
    heads = []
    for seed in (0, 1):
        learner = DDQN(
            DDQNConfig(hidden=8, bf16=False, reset_every=1),
            stack_size=4, frame_shape=(SIDE, SIDE), num_actions=ACTIONS, seed=seed,
        )  # fmt: skip
        learner.update(batch())
        heads.append(weights(learner.online.advantage))
    assert not same(*heads)
