"""From round to round: training goes on where it was, elites are ranked anew, members keep to their rows."""

import copy

import numpy as np
import pytest
import torch
from moving_dot import model, replay
from torch import Tensor

from mbpo_fast.models import ModelTrainer
from mbpo_fast.models.losses import frame_loss


@pytest.mark.parametrize("average", [0.99, 0.0])
def test_a_round_begins_with_the_weights_and_moments_of_the_last(average: float) -> None:
    net, buffer = model(weight_average=average), replay()
    trainer = ModelTrainer(net, seed=0)
    trainer.fit(buffer)
    weights = copy.deepcopy(net.learners.state_dict())
    moments = copy.deepcopy(net.optimizer.state_dict()["state"])
    assert all(float(x["exp_avg"].abs().sum()) > 0 for x in moments.values())
    seen: list[bool] = []
    update = net.update

    def noted(*rows: Tensor) -> dict[str, Tensor]:
        if not seen:
            now = net.optimizer.state_dict()["state"]
            seen.append(all(torch.equal(x, weights[name]) for name, x in net.learners.state_dict().items()))
            seen.append(all(torch.equal(x[k], moments[i][k]) for i, x in now.items() for k in x))
        return update(*rows)

    net.update = noted  # type: ignore[method-assign]
    trainer.fit(buffer)
    assert seen == [True, True]


def test_elites_are_ranked_anew_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    net = model(ensemble_size=3, num_elites=2)
    trainer, buffer = ModelTrainer(net, seed=0), replay()
    for scores, elites in (([1.0, 2.0, 3.0], [0, 1]), ([3.0, 2.0, 1.0], [2, 1])):
        monkeypatch.setattr(trainer, "_member_scores", lambda _, scores=scores: np.array(scores))
        trainer.fit(buffer)
        assert net.elites == elites


def test_every_member_is_trained_on_rows_of_its_own_sample() -> None:
    shares = dict.fromkeys(("rewarded_share", "ended_share", "near_end_share"), 0.0)
    trainer, buffer = ModelTrainer(model(**shares), seed=0), replay()
    pools = trainer._pools(buffer)
    gathered: list[np.ndarray] = []
    gather = buffer.gather

    def noted(ids: np.ndarray, *others: object, **named: object) -> object:
        gathered.append(ids.reshape(len(pools), -1))
        return gather(ids, *others, **named)

    buffer.gather = noted  # type: ignore[method-assign]
    for _ in range(6):
        trainer._batch(buffer, pools)
    drawn = np.concatenate(gathered, axis=1)
    inside = np.array([[np.isin(rows, pool.own).all() for pool in pools] for rows in drawn])
    assert inside.diagonal().all()
    assert inside.sum() < inside.size / 2, "samples differ enough to tell"


def test_changes_are_learned_in_the_models_unit() -> None:
    net, buffer = model(), replay()
    trainer = ModelTrainer(net, seed=0)
    context, action, following, reward, end = (x[0] for x in trainer._batch(buffer, trainer._pools(buffer)))
    member = net.members[0]
    with torch.no_grad():
        member.head.weight.normal_()
        losses = []
        for scale in (0.2, 0.8):
            net.change_scale = scale
            loss = net.losses(member, context, action, following, reward, end)["frame"]
            assert float(loss) == float(frame_loss(member(context, action), context[:, -1], following, scale))
            losses.append(float(loss))
    assert losses[0] > losses[1]


def test_thresholds_are_set_anew_in_every_round() -> None:
    net, buffer = model(), replay()
    trainer = ModelTrainer(net, seed=0)
    for _ in range(2):
        net.reward_threshold = net.end_threshold = -1.0
        trainer.fit(buffer)
        assert min(net.reward_threshold, net.end_threshold) > 0.0


def test_every_check_is_heard() -> None:
    heard: list[tuple[int, int]] = []
    trainer, buffer = ModelTrainer(model(first_updates=5, updates=2, check_every=2), seed=0), replay()
    for _ in range(2):
        trainer.fit(buffer, lambda updates, budget: heard.append((updates, budget)))
    assert heard == [(2, 5), (4, 5), (5, 5), (2, 2)]
