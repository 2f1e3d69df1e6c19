"""The trainer's semantics: holdout, bootstrap, early stop, best weights, elites, balance, thresholds."""

import copy

import numpy as np
import pytest
import torch

from mbpo_fast.data import ReplayBuffer
from mbpo_fast.models import ModelConfig, ModelTrainer, WorldModel
from mbpo_fast.models.losses import TYPICAL_CHANGE, VALUE_WEIGHT, frame_loss, typical_change
from mbpo_fast.models.trainer import _EarlyStop, bootstrap_weights, rank_elites
from mbpo_fast.nets import Prediction

SIDE, LANES = 36, 2
SMALL = {
    "context": 4, "width": 8, "depth": 1, "outcome_width": 8, "batch_size": 8, "holdout_ratio": 0.3,
    "first_updates": 6, "updates": 4, "bf16": False, "check_every": 2, "holdout_rows": 64,
    "gate": {"min_holdout": 64}, "learning_rate": 1e-3,
}  # fmt: skip


def replay(steps: int = 150, seed: int = 0, episode: int = 12) -> ReplayBuffer:
    """A dot that moves right by its action; reward when it passes the middle; ends after `episode` steps."""
    buffer = ReplayBuffer(1000, LANES, frame_shape=(SIDE, SIDE), seed=seed, holdout_ratio=0.3)
    rng = np.random.default_rng(seed)
    x = np.zeros(LANES, int)
    age = 0
    for step in range(steps):
        first = step % (episode + 1) == 0
        action = rng.integers(0, 3, LANES)
        x = np.zeros(LANES, int) if first else x + action
        age = 0 if first else age + 1
        frame = np.zeros((LANES, SIDE, SIDE), np.uint8)
        for lane in range(LANES):
            frame[lane, 8:16, x[lane] : x[lane] + 4] = 200
        reward = ((x >= 10) & (x - action < 10) & ~first).astype(np.float32)
        end = np.full(LANES, age == episode)
        buffer.add(frame, action, reward, end, np.zeros(LANES, bool), np.full(LANES, first))
    return buffer


def model(**settings: object) -> WorldModel:
    return WorldModel(ModelConfig(**(SMALL | settings)), frame_shape=(SIDE, SIDE), num_actions=3, seed=1)


def test_bootstrap_weights_are_fixed_for_life_and_differ_between_members() -> None:
    ids = np.arange(20_000, dtype=np.int64)
    weights = bootstrap_weights(ids, 6, seed=3)
    assert weights.shape == (6, 20_000)
    later = bootstrap_weights(ids[5_000:5_100], 6, seed=3)
    assert np.array_equal(weights[:, 5_000:5_100], later), "a weight depends on its transition alone"
    for m in range(1, 6):
        assert np.corrcoef(weights[0], weights[m])[0, 1] < 0.05
    assert np.abs(weights.mean(axis=1) - 1).max() < 0.03
    assert np.abs((weights == 0).mean(axis=1) - np.exp(-1)).max() < 0.02, "Poisson(1)"
    assert not np.array_equal(bootstrap_weights(ids, 6, seed=4), weights)


class Spy:
    """Notes which ids are trained on and which are judged."""

    def __init__(self, buffer: ReplayBuffer) -> None:
        self.buffer = buffer
        self.gathered: list[np.ndarray] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.buffer, name)

    def gather(self, ids: np.ndarray, *args: object, **kwargs: object) -> object:
        self.gathered.append(np.asarray(ids))
        return self.buffer.gather(ids, *args, **kwargs)


def test_held_out_episodes_are_never_trained_on() -> None:
    spy = Spy(replay())
    trainer = ModelTrainer(model(), seed=0)
    trainer.fit(spy)
    held_out = set(spy.buffer.valid_ids(1, context=4, split="holdout").tolist())
    assert len(held_out) > 20
    batches = [ids for ids in spy.gathered if len(ids) == 5 * 8]
    assert len(batches) == 6
    assert not held_out & set(np.concatenate(batches).tolist())
    before = held_out
    for _ in range(13):
        spy.buffer.add(
            np.zeros((LANES, SIDE, SIDE), np.uint8), np.zeros(LANES, np.int64), np.zeros(LANES, np.float32),
            np.zeros(LANES, bool), np.zeros(LANES, bool), np.zeros(LANES, bool),
        )  # fmt: skip
    assert before <= set(spy.buffer.valid_ids(1, context=4, split="holdout").tolist())


def test_each_member_draws_from_its_own_bootstrap() -> None:
    buffer = replay()
    trainer = ModelTrainer(model(), seed=0)
    ids = buffer.valid_ids(1, context=4, split="train")
    weights = bootstrap_weights(ids, 5, seed=0)
    for (own, rewarded, ended), weight in zip(trainer._pools(buffer), weights, strict=True):
        assert np.array_equal(own, np.repeat(ids, weight))
        reward, terminated = buffer.outcomes(own)
        assert np.array_equal(rewarded, own[reward != 0])
        assert np.array_equal(ended, own[terminated])
    # The same after more data has come: what was drawn stays drawn.
    again = trainer._pools(buffer)
    assert np.array_equal(again[0][0], np.repeat(ids, weights[0]))


def test_batches_hold_the_stated_shares_of_rewards_and_ends() -> None:
    buffer = replay()
    trainer = ModelTrainer(model(batch_size=16, rewarded_share=0.25, ended_share=0.125), seed=0)
    pools = trainer._pools(buffer)
    _, _, _, reward, terminated = trainer._batch(buffer, pools)
    assert reward.shape == (5, 16)
    assert ((reward != 0)[:, :4]).all()
    assert terminated[:, 4:6].all()
    natural = ModelTrainer(model(batch_size=16, rewarded_share=0.0, ended_share=0.0), seed=0)
    _, _, _, reward, _ = natural._batch(buffer, natural._pools(buffer))
    assert (reward != 0).float().mean() < 0.2


def test_recent_share_of_a_batch_comes_from_the_newest_quarter() -> None:
    for share, low, high in ((0.75, 0.7, 0.8), (0.0, 0.0, 0.0), (0.25, 0.2, 0.3)):
        trainer = ModelTrainer(model(recent_share=share, rewarded_share=0.0, ended_share=0.0), seed=0)
        own = np.arange(1000)
        drawn = trainer._draw((own, own[:0], own[:0]), 4000, step=3)
        assert low <= (drawn >= 750).mean() <= high
        assert len(np.unique(drawn)) > 200, "uniform within its part"
    assert np.array_equal(drawn, trainer._draw((own, own[:0], own[:0]), 4000, step=3))


def test_changes_are_measured_once_in_units_of_the_first_data() -> None:
    net = model()
    trainer = ModelTrainer(net, seed=0)
    trainer.fit(replay())
    assert net.change_scale == pytest.approx(200 / 255, rel=0.01)
    buffer = replay(seed=1)
    before = net.change_scale
    trainer.fit(buffer)
    assert net.change_scale == before
    raw = model(normalise=False)
    ModelTrainer(raw, seed=0).fit(replay())
    assert raw.change_scale == TYPICAL_CHANGE


def test_the_frame_loss_does_not_depend_on_contrast() -> None:
    newest = torch.zeros(1, 4, 4, dtype=torch.uint8)
    none = torch.zeros(1)
    losses = []
    for contrast in (50, 100):
        following = newest.clone()
        following[0, 0] = contrast
        said = Prediction(torch.full((1, 4, 4), 0.5 * contrast / 255), torch.zeros(1, 4, 4), none, none)
        losses.append(float(frame_loss(said, newest, following, typical_change(newest, following))))
    assert losses[0] == pytest.approx(losses[1])
    assert losses[0] == pytest.approx(16 * np.log(2) + VALUE_WEIGHT * 4 * 0.5)


def test_averaged_weights_are_judged_and_the_trained_ones_go_on() -> None:
    buffer = replay()
    net = model(weight_average=0.9, ensemble_size=2, num_elites=1)
    trainer = ModelTrainer(net, seed=0)
    expected = [p.detach().clone() for p in net.members.parameters()]
    pools = trainer._pools(buffer)
    for step in range(12):
        net.update(*trainer._batch(buffer, pools))
        share = max(0.1, 1 / (1 + 0.1 * step))
        expected = [
            e + share * (p.detach() - e) for e, p in zip(expected, net.learners.parameters(), strict=True)
        ]
    for e, p, q in zip(expected, net.members.parameters(), net.learners.parameters(), strict=True):
        assert torch.allclose(e, p, atol=1e-6)
        assert not p.requires_grad
        assert q.requires_grad
    assert model(weight_average=0).learners is not None
    plain = model(weight_average=0)
    assert plain.learners is plain.members


def test_dropout_is_drawn_anew_for_every_member_and_step() -> None:
    net = model(outcome_dropout=0.25, outcome_width=32)
    first = torch.stack(net._dropout(64))
    assert first.shape == (5, 64, 32)
    assert first.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert float((first == 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first, torch.stack(net._dropout(64))), "by number: a resumed run draws the same"
    net.gradient_steps += 1
    assert not torch.equal(first, torch.stack(net._dropout(64)))
    assert model(outcome_dropout=0)._dropout(8) == [None] * 5
    assert model(arch="grid")._dropout(8) == [None] * 5


def test_dropout_leaves_out_the_outcomes_channels_and_no_pixels() -> None:
    net = model()
    member = net.members[0]
    with torch.no_grad():
        member.head.weight.normal_()
    trainer = ModelTrainer(net, seed=0)
    rows = [x[0] for x in trainer._batch(replay(), trainer._pools(replay()))]
    keep = torch.ones(8, 8)
    keep[:, 3] = 0.0
    plain, dropped = net.losses(member, *rows), net.losses(member, *rows, keep=keep)
    with torch.no_grad():
        member.outcome.out.weight[:, 3] = 0.0
    assert plain["frame"] == dropped["frame"]
    assert plain["reward"] != dropped["reward"]
    assert net.losses(member, *rows)["reward"] == dropped["reward"]


def test_thresholds_are_those_of_the_best_f1_on_training_rows() -> None:
    spy = Spy(replay())
    net = model()

    def say(_context: torch.Tensor, _action: torch.Tensor, _member: int) -> tuple[torch.Tensor, ...]:
        reward, end = spy.buffer.outcomes(spy.gathered[-1])
        rewarded = 0.2 + 0.3 * torch.from_numpy(reward != 0).float()
        probs = torch.stack([torch.zeros_like(rewarded), 1.0 - rewarded, rewarded], dim=1)
        return torch.zeros(len(reward), SIDE, SIDE), probs, 0.1 + 0.7 * torch.from_numpy(end).float()

    net.predict = say  # type: ignore[method-assign]
    ModelTrainer(net, seed=0)._calibrate(spy)
    assert net.reward_threshold == pytest.approx(0.35)
    assert net.end_threshold == pytest.approx(0.45)
    training = spy.buffer.valid_ids(1, context=4, split="train")
    assert set(spy.gathered[0].tolist()) <= set(training.tolist())


def test_early_stop_counts_patience_and_keeps_each_members_best() -> None:
    net = model(ensemble_size=2, num_elites=1)
    stop = _EarlyStop(net, patience=2)

    def set_weights(value: float) -> None:
        with torch.no_grad():
            for parameter in net.members.parameters():
                parameter.fill_(value)

    history = [([5.0, 5.0], 0), ([4.0, 6.0], 0), ([4.5, 4.99], 1), ([3.999, 9.0], 2)]
    for value, (scores, without_gain) in enumerate(history):
        set_weights(float(value))
        stop.check(np.array(scores))
        assert stop.without_gain == without_gain, "a gain of less than 1 % does not reset the patience"
    assert stop.exhausted
    best = stop.restore_best()
    assert best.tolist() == [3.999, 4.99]
    for member, value in zip(net.members, (3.0, 2.0), strict=True):
        assert all((parameter == value).all() for parameter in member.parameters())


def test_fit_stops_early_when_nothing_improves() -> None:
    net = model(first_updates=100, check_every=2, patience=3)
    net.update = lambda *_: {name: torch.zeros(()) for name in ("frame", "reward", "end")}  # type: ignore[method-assign]
    metrics = ModelTrainer(net, seed=0).fit(replay())
    assert metrics["updates"] == 6.0


def test_elites_are_the_best_few_in_order() -> None:
    assert rank_elites(np.array([0.5, 0.1, np.nan, 0.3, 0.2]), 3) == [1, 4, 3]
    net = model(num_elites=2)
    trainer = ModelTrainer(net, seed=0)
    trainer.fit(replay())
    assert len(net.elites) == 2
    scores = trainer._member_scores(trainer._holdout(replay()))
    assert net.elites == np.argsort(scores)[:2].tolist()


def test_first_round_has_its_own_budget() -> None:
    trainer = ModelTrainer(model(first_updates=6, updates=2), seed=0)
    buffer = replay()
    assert trainer.fit(buffer)["updates"] == 6.0
    assert trainer.fit(buffer)["updates"] == 2.0


def test_a_model_learns_the_toy_and_the_metrics_say_so() -> None:
    buffer = replay(400)
    trainer = ModelTrainer(
        model(
            learning_rate=4e-3,
            first_updates=400,
            check_every=100,
            ensemble_size=2,
            num_elites=1,
            batch_size=16,
        ),
        seed=0,
    )
    untrained = trainer.evaluate(trainer._holdout(buffer))
    assert untrained["changed_error_ratio"] == pytest.approx(1.0)
    assert untrained["frame_error_ratio"] == pytest.approx(1.0)
    trained = trainer.fit(buffer)
    assert trained["changed_error_ratio"] < 0.7
    assert trained["frame_error_ratio"] < 0.7
    assert trained["reward_f1"] > 0.5


def test_step_routes_each_row_to_its_member() -> None:
    net = model(ensemble_size=3, num_elites=3)
    with torch.no_grad():
        for net_member in net.members:
            net_member.head.weight.normal_(std=0.3)
            net_member.head.bias[:16] = 2.0
    context = torch.randint(0, 256, (12, 4, SIDE, SIDE), dtype=torch.uint8)
    action, member = torch.arange(12) % 3, torch.arange(12) // 4
    frame, reward, terminated = net.step(context, action, member)
    for row in range(12):
        alone, probs, end = net.predict(context[row : row + 1], action[row : row + 1], int(member[row]))
        # A batch of another size is summed in another order: a value on the edge may round to the next level.
        assert (frame[row].int() - alone[0].int()).abs().max() <= 1
        assert (frame[row] != alone[0]).float().mean() < 0.01
        assert reward[row] == net.decide_reward(probs)[0]
        assert terminated[row] == (end[0] > net.end_threshold)


def test_reward_decisions_follow_the_threshold_and_the_sign() -> None:
    net = model()
    net.reward_threshold = 0.3
    probs = torch.tensor([[0.1, 0.8, 0.1], [0.1, 0.6, 0.3], [0.5, 0.4, 0.1]])
    assert net.decide_reward(probs).tolist() == [0.0, 1.0, -1.0]


def test_a_restored_trainer_goes_on_with_the_same_bits() -> None:
    buffer = replay()
    net = model()
    trainer = ModelTrainer(net, seed=0)
    trainer.fit(buffer)
    twin_net = model()
    twin = ModelTrainer(twin_net, seed=0)
    twin_net.load_state_dict(copy.deepcopy(net.state_dict()))
    twin.load_state_dict(trainer.state_dict())
    assert trainer.fit(buffer) == twin.fit(buffer)
    for a, b in zip(net.members.parameters(), twin_net.members.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_empty_buffer_is_refused_with_a_reason() -> None:
    empty = ReplayBuffer(100, LANES, frame_shape=(SIDE, SIDE), holdout_ratio=0.3)
    with pytest.raises(ValueError, match=r"\[ModelTrainer.fit\] expected training transitions"):
        ModelTrainer(model(), seed=0).fit(empty)


def test_members_learn_apart() -> None:
    """Member 0's weights after an update depend on member 0's rows alone."""
    buffer = replay()
    first, second = model(ensemble_size=2, num_elites=1), model(ensemble_size=2, num_elites=1)
    trainer = ModelTrainer(first, seed=0)
    rows = trainer._batch(buffer, trainer._pools(buffer)[:2])
    other = [column.clone() for column in rows]
    other[1][1] = (other[1][1] + 1) % 3
    other[2][1] = 255 - other[2][1]
    first.update(*rows)
    second.update(*other)
    equal = [
        all(torch.equal(a, b) for a, b in zip(x.parameters(), y.parameters(), strict=True))
        for x, y in zip(first.members, second.members, strict=True)
    ]
    assert equal == [True, False]
    starts = zip(*(member.parameters() for member in first.members), strict=True)
    assert not all(torch.equal(a, b) for a, b in starts), "members start different"
