"""The trainer's semantics: holdout, bootstrap, early stop, best weights, elites, balance, thresholds."""

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from moving_dot import LANES, SIDE, model, replay

from mbpo_fast.data import ReplayBuffer
from mbpo_fast.models import ModelTrainer
from mbpo_fast.models.early_stop import EarlyStop
from mbpo_fast.models.losses import TYPICAL_CHANGE
from mbpo_fast.models.pools import NEAR_END, bootstrap_weights, draw_rows
from mbpo_fast.models.trainer import _MemberPrediction, rank_elites
from mbpo_fast.ops import reference


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
    measured, judged = spy.gathered[:2]
    assert not held_out & set(measured.tolist()), "the unit of change is of training rows"
    assert len(judged) > 20
    assert set(judged.tolist()) <= held_out
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
    for pool, weight in zip(trainer._pools(buffer), weights, strict=True):
        assert np.array_equal(pool.own, np.repeat(ids, weight))
    # From equal pools members still draw different rows.
    alike = [trainer._pools(buffer)[0]] * 5
    drawn = trainer._batch(buffer, alike)[0]
    assert not torch.equal(drawn[0], drawn[1])
    # The same after more data has come: what was drawn stays drawn.
    again = trainer._pools(buffer)
    assert np.array_equal(again[0].own, np.repeat(ids, weights[0]))


def test_rare_rows_are_every_members() -> None:
    buffer = replay()
    ids = buffer.valid_ids(1, context=4, split="train")
    reward, terminated = buffer.outcomes(ids)
    near = []
    for lane in range(LANES):
        own = ids % LANES == lane
        ends = ids[own & terminated]
        near += [i for i in ids[own & ~terminated] if any(0 < end - i <= NEAR_END * LANES for end in ends)]
    assert len(near) > 10
    for pool in ModelTrainer(model(), seed=0)._pools(buffer):
        assert np.array_equal(pool.rewarded, ids[reward != 0])
        assert np.array_equal(pool.ended, ids[terminated])
        assert np.array_equal(pool.near_end, np.sort(near))


def test_batches_hold_the_stated_shares_of_rare_rows() -> None:
    buffer = replay()
    shares = {"rewarded_share": 0.25, "ended_share": 0.125, "near_end_share": 0.125}
    trainer = ModelTrainer(model(batch_size=16, **shares), seed=0)
    pools = trainer._pools(buffer)
    _, _, _, reward, terminated = trainer._batch(buffer, pools)
    assert reward.shape == (5, 16)
    assert ((reward != 0)[:, :4]).all()
    assert terminated[:, 4:6].all()
    drawn = draw_rows(pools[0], trainer.config, seed=0, step=0)
    assert np.isin(drawn[6:8], pools[0].near_end).all()
    assert not np.isin(drawn[8:], pools[0].near_end).all()
    natural = ModelTrainer(model(batch_size=16, **dict.fromkeys(shares, 0.0)), seed=0)
    _, _, _, reward, _ = natural._batch(buffer, natural._pools(buffer))
    assert (reward != 0).float().mean() < 0.2


def test_a_share_of_the_rows_is_moved_with_all_their_frames() -> None:
    buffer = replay()
    plain, moved = (ModelTrainer(model(random_shift=most), seed=0) for most in (0, 2))
    trainers = (plain, moved, ModelTrainer(model(random_shift=2), seed=0))
    batches = [[trainer._batch(buffer, trainer._pools(buffer)) for _ in range(6)] for trainer in trainers]
    shifted = 0
    for old, new, again in zip(*batches, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(new, again, strict=True)), "drawn by number"
        assert all(torch.equal(old[i], new[i]) for i in (1, 3, 4)), "actions and outcomes stay"
        frames, others = (
            torch.cat([x[0], x[2][:, :, None]], dim=2).flatten(0, 1).numpy() for x in (old, new)
        )
        for row, other in zip(frames, others, strict=True):
            offsets = [(d, r) for d in range(-2, 3) for r in range(-2, 3)]
            fits = [
                np.array_equal(reference.shift_frames(row[None], *np.array([[d], [r]]))[0], other)
                for d, r in offsets
            ]
            assert any(fits), "one offset for the context and the frame after it"
            shifted += not fits[offsets.index((0, 0))]
    rows = 6 * 5 * 8
    assert 0.3 < shifted / rows < 0.6, "half of them, less those that are moved by nothing"


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
    stop = EarlyStop(net, patience=2)

    def set_weights(value: float) -> None:
        with torch.no_grad():
            for parameter in net.members.parameters():
                parameter.fill_(value)

    history = [([5.0, 5.0], 0), ([4.0, 6.0], 0), ([4.5, 4.99], 1), ([3.999, 9.0], 2), ([4.0, 5.0], 3)]
    for value, (scores, without_gain) in enumerate(history):
        set_weights(float(value))
        assert not stop.exhausted
        stop.check(np.array(scores))
        assert stop.without_gain == without_gain, "a gain of less than 1 % does not reset the patience"
    assert stop.exhausted, "after more than `patience` checks"
    best = stop.restore_best()
    assert best.tolist() == [3.999, 4.99]
    for member, value in zip(net.members, (3.0, 2.0), strict=True):
        assert all((parameter == value).all() for parameter in member.parameters())


def test_small_gains_add_up_to_one_that_counts() -> None:
    stop = EarlyStop(model(ensemble_size=1, num_elites=1), patience=2)
    for score in 0.994 ** np.arange(20):
        stop.check(np.array([score]))
        assert not stop.exhausted


def test_a_member_that_diverges_gets_its_last_good_weights_back_and_leaves_the_others_alone() -> None:
    net = model(ensemble_size=2, num_elites=1)
    stop = EarlyStop(net, patience=2)
    stop.check(np.array([2.0, 3.0]))
    good = copy.deepcopy(net.members[0].state_dict())
    with torch.no_grad():
        for parameter in net.members[0].parameters():
            parameter.fill_(torch.nan)
    for score in (2.9, 2.9, 2.9, 2.9):
        stop.check(np.array([np.nan, score]))
    assert stop.exhausted, "no number is no gain"
    assert rank_elites(stop.restore_best(), 2) == [0, 1]
    for name, weights in net.members[0].state_dict().items():
        assert torch.equal(weights, good[name]), name


def test_a_member_that_was_never_good_ranks_last() -> None:
    net = model(ensemble_size=2, num_elites=1)
    with torch.no_grad():
        for parameter in net.members[0].parameters():
            parameter.fill_(torch.nan)
    trainer = ModelTrainer(net, seed=0)
    metrics = trainer.fit(replay())
    assert net.elites == [1]
    assert metrics["diverged"] == 1.0


@pytest.mark.parametrize("average", [0.99, 0.0])
def test_a_member_that_diverged_learns_again(average: float) -> None:
    net = model(ensemble_size=2, num_elites=1, weight_average=average)
    trainer, buffer = ModelTrainer(net, seed=0), replay()
    trainer.fit(buffer)
    real, spoilt = net.update, []

    def spoil_once(*rows: torch.Tensor) -> dict[str, torch.Tensor]:
        if not spoilt:
            spoilt.append(True)
            with torch.no_grad():
                for parameter in net.learners[0].parameters():
                    parameter.fill_(torch.nan)
        return real(*rows)

    net.update = spoil_once  # type: ignore[method-assign]
    assert trainer.fit(buffer)["diverged"] == 1.0
    before = copy.deepcopy(net.members[0].state_dict())
    assert trainer.fit(buffer)["diverged"] == 0.0
    changed = [not torch.equal(x, before[name]) for name, x in net.learners[0].state_dict().items()]
    assert any(changed)
    assert all(torch.isfinite(x).all() for x in net.learners[0].state_dict().values())


def test_what_is_judged_are_the_elites_by_the_models_own_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    net, count = model(ensemble_size=3, num_elites=2), 6
    net.elites, net.reward_threshold, net.end_threshold = [2, 0], 0.4, 0.6
    window = torch.zeros((count, 5, SIDE, SIDE), dtype=torch.uint8)
    window[:, -1, 0, 0] = 40
    reward = np.array([1, -1, 0, 0, 1, 0], np.float32)
    ended = np.array([0, 0, 0, 1, 1, 0], bool)
    rare = np.array([[0.9, 0.5, 0.1, 0.5, 0.3, 0.1], [0] * 6, [0.9, 0.9, 0.9, 0.1, 0.9, 0.1]], np.float32)
    ends = np.array([[0.1, 0.7, 0.2, 0.9, 0.5, 0.1], [1] * 6, [0.9, 0.1, 0.1, 0.8, 0.7, 0.65]], np.float32)

    def said(context: torch.Tensor, action: torch.Tensor, member: int) -> tuple[torch.Tensor, ...]:
        frame = window[:, -2].clone()
        frame[:, 0, 0] = 10 * member
        p = torch.from_numpy(rare[member])
        return frame, torch.stack([0 * p, 1 - p, p], dim=1), torch.from_numpy(ends[member])

    monkeypatch.setattr(net, "predict", said)
    rows: Any = SimpleNamespace(window=window, action=np.zeros(count, int), reward=reward, terminated=ended)
    found = ModelTrainer(net, seed=0).evaluate(rows)
    # Member 2 says 20 and member 0 says nothing of a change of 40; copying is wrong by 40 everywhere.
    assert found["changed_error_ratio"] == pytest.approx((0.5 + 1.0) / 2)
    f1 = []
    for member in (2, 0):
        guess = (rare[member] > 0.4).astype(int)
        hits = int(((guess != 0) & (guess == reward)).sum())
        f1.append(2 * hits / (guess.sum() + (reward != 0).sum()))
    assert found["reward_f1"] == pytest.approx(np.mean(f1))
    assert found["false_ends"] == pytest.approx((2 / 4 + 1 / 4) / 2)
    # By rank: member 2 has its ends second and third of six, member 0 first and third.
    assert found["end_pr_auc"] == pytest.approx(((1 / 2 + 2 / 3) / 2 + (1 + 2 / 3) / 2) / 2)


def test_a_fit_without_held_out_rows_keeps_what_it_learned() -> None:
    buffer = ReplayBuffer(1000, LANES, frame_shape=(SIDE, SIDE), seed=0, holdout_ratio=0.0)
    whole = replay()
    for slot in range(whole.total):
        row = whole.export(slot, slot + 1)
        columns = (row[name][0] for name in ("frame", "action", "reward", "terminated", "truncated", "first"))
        buffer.add(*columns)
    net = model()
    before = copy.deepcopy(net.members.state_dict())
    metrics = ModelTrainer(net, seed=0).fit(buffer)
    assert (metrics["holdout_rows"], metrics["updates"], metrics["diverged"]) == (0.0, 6.0, 0.0)
    after = net.members.state_dict()
    for member in range(5):
        own = [name for name in after if name.startswith(f"{member}.")]
        assert not all(torch.equal(after[name], before[name]) for name in own)


class Rare:
    """A buffer whose rewards all lie where an even spread of its rows does not look."""

    num_envs = 1

    def __init__(self, count: int, rewarded: list[int]) -> None:
        self.count = count
        self.reward = np.zeros(count, np.float32)
        self.reward[rewarded] = 1.0

    def valid_ids(self, *_: object, **__: object) -> np.ndarray:
        return np.arange(self.count)

    def outcomes(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.reward[ids], np.zeros(len(ids), bool)

    def gather(self, ids: np.ndarray, *_: object, **__: object) -> SimpleNamespace:
        reward, terminated = self.outcomes(ids)
        return SimpleNamespace(ids=ids, reward=reward, terminated=terminated)


def test_thresholds_are_those_of_all_rare_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    count, rewarded = 5000, [3, 1007, 2221]
    buffer: Any = Rare(count, rewarded)
    net = model(holdout_rows=200)
    net.end_threshold = 0.75
    trainer = ModelTrainer(net, seed=0)
    # Rewards are believed to be likely, and so is one row of ten that has none.
    belief = np.where(np.arange(count) % 10 == 5, 0.6, 0.1).astype(np.float32)
    belief[rewarded] = 0.8

    def said(rows: Any) -> list[_MemberPrediction]:
        p = torch.from_numpy(belief[rows.ids])
        frame = np.zeros((len(p), SIDE, SIDE), np.uint8)
        probs = torch.stack([torch.zeros_like(p), 1 - p, p], dim=1)
        return [_MemberPrediction(frame, probs, np.zeros(len(p), np.float32))]

    monkeypatch.setattr(trainer, "_predict", said)
    trainer._calibrate(buffer)
    assert 0.6 <= net.reward_threshold < 0.8
    assert net.end_threshold == 0.75, "nothing ended: what was known stays"
    belief[rewarded[0]] = 0.3  # to find it, too, would cost hundreds of false alarms
    trainer._calibrate(buffer)
    assert 0.6 <= net.reward_threshold < 0.8


def test_a_fit_ends_with_each_members_best_weights_and_thresholds_for_them() -> None:
    """At a rate that ruins the weights, those of the first check, before any update, are the best."""
    net = model(learning_rate=10.0, weight_average=0)
    net.reward_threshold = net.end_threshold = -1.0
    trainer, buffer = ModelTrainer(net, seed=0), replay()
    before = copy.deepcopy(net.members.state_dict())
    trainer.fit(buffer)
    for name, weights in net.members.state_dict().items():
        assert torch.equal(weights, before[name]), name
    assert min(net.reward_threshold, net.end_threshold) > 0.0


def test_fit_stops_early_when_nothing_improves() -> None:
    net = model(first_updates=100, check_every=2, patience=3)
    net.update = lambda *_: {name: torch.zeros(()) for name in ("frame", "reward", "end")}  # type: ignore[method-assign]
    metrics = ModelTrainer(net, seed=0).fit(replay())
    assert metrics["updates"] == 8.0, "the first check gains, more than three others do not"


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


def test_while_there_is_nothing_to_train_on_there_is_no_round() -> None:
    """As when the first episode is held out and goes on."""
    empty = ReplayBuffer(100, LANES, frame_shape=(SIDE, SIDE), holdout_ratio=0.3)
    trainer = ModelTrainer(model(), seed=0)
    assert trainer.fit(empty) == {"holdout_rows": 0.0}
    assert trainer.rounds == 0
