"""Rollouts: length, stops, elites, actions of the current policy, reproducible draws."""

from typing import Any

import numpy as np
import pytest
import torch

from mbpo_fast.data import ModelBuffer
from mbpo_fast.models import RolloutEngine
from mbpo_fast.models.uncertainty import UncertaintyConfig, disagreement
from mbpo_fast.ops import Stream

CONTEXT, SIDE, ROWS = 5, 36, 40


class Policy:
    """Acts by the newest frame's first pixel, modulo 3, and notes what it saw."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def act(self, obs: Any, epsilon: float, *, seed: int, stream: Stream, step: int) -> Any:
        self.seen.append((obs.shape, epsilon, stream, step))
        return obs[:, -1, 0, 0].astype(np.int64) % 3


class Model:
    """Adds 1 to every pixel; the row ends when its first pixel passes `last`; the reward names the member."""

    def __init__(self, elites: list[int], last: int = 255) -> None:
        self.elites, self.last = elites, last
        self.device = torch.device("cpu")
        self.members: list[int] = []
        self.rows: list[int] = []

    def step(self, context: Any, action: Any, member: Any) -> Any:
        self.members += member.tolist()
        self.rows.append(len(member))
        frame = context[:, -1] + 1
        return frame, member.to(torch.float32), frame[:, 0, 0] >= self.last


def start(rows: int = ROWS) -> np.ndarray:
    frames = np.zeros((rows, CONTEXT, SIDE, SIDE), np.uint8)
    frames += np.arange(CONTEXT, dtype=np.uint8)[:, None, None]
    frames += (np.arange(rows, dtype=np.uint8) % 10)[:, None, None, None]
    return frames


def run(model: Model, horizon: int, seed: int = 0) -> tuple[ModelBuffer, int, Policy]:
    # The buffer keeps fewer frames than the model sees: the newest ones.
    buffer = ModelBuffer(64, context=CONTEXT - 1, horizon=8, frame_shape=(SIDE, SIDE), seed=0)
    policy = Policy()
    written = RolloutEngine(seed=seed).run(start(), policy, model, buffer, horizon=horizon, epsilon=0.1)
    return buffer, written, policy


@pytest.mark.parametrize("horizon", [1, 2, 5, 8])
def test_a_branch_has_the_length_asked_for(horizon: int) -> None:
    buffer, written, policy = run(Model([0]), horizon)
    assert written == ROWS * horizon == buffer.num_transitions
    assert [seen[3] for seen in policy.seen] == list(range(horizon))
    assert all(seen[0] == (ROWS, 4, SIDE, SIDE) and seen[1] == 0.1 for seen in policy.seen)
    assert all(seen[2] == Stream.ROLLOUT_ACTION for seen in policy.seen)


def test_predicted_ends_stop_their_branch_and_no_other() -> None:
    # Row i starts with newest pixel 4 + i % 10 and ends when it reaches 10: after max(1, 6 - i % 10) steps.
    model = Model([0], last=10)
    buffer, written, _ = run(model, 8)
    lengths = [max(1, 6 - i % 10) for i in range(ROWS)]
    assert written == sum(lengths) == buffer.num_transitions
    assert model.rows == [sum(length > t for length in lengths) for t in range(max(lengths))]


def test_only_elites_run_and_each_step_draws_anew() -> None:
    model = Model([4, 1, 3])
    run(model, 8)
    shares = np.bincount(model.members, minlength=5) / len(model.members)
    assert shares[[0, 2]].sum() == 0
    assert np.abs(shares[[1, 3, 4]] - 1 / 3).max() < 0.12
    by_step = np.array(model.members).reshape(8, ROWS)
    assert not all((by_step[t] == by_step[0]).all() for t in range(8))


def test_frames_actions_and_rewards_reach_the_buffer() -> None:
    buffer, _, _ = run(Model([2]), 3)
    rows = buffer.sample(256, n_step=1, gamma=0.9)
    newest, following = rows.obs[:, -1, 0, 0].astype(int), rows.next_obs[:, -1, 0, 0].astype(int)
    assert (following == newest + 1).all()
    assert (rows.obs[:, -2, 0, 0] == newest - 1).all()
    assert (rows.action == newest % 3).all(), "the action is the current policy's at that state"
    assert (rows.reward == 2.0).all()
    assert (rows.discount == np.float32(0.9)).all()


def test_same_seed_same_members_and_the_counter_goes_on() -> None:
    first, second, third = Model([0, 1]), Model([0, 1]), Model([0, 1])
    run(first, 4)
    run(second, 4)
    run(third, 4, seed=1)
    assert first.members == second.members != third.members
    engine = RolloutEngine(seed=0)
    buffer = ModelBuffer(64, context=CONTEXT, horizon=8, frame_shape=(SIDE, SIDE), seed=0)
    fourth = Model([0, 1])
    for _ in range(2):
        engine.run(start(), Policy(), fourth, buffer, horizon=1, epsilon=0.1)
    assert fourth.members[:ROWS] != fourth.members[ROWS:]
    assert buffer.total == 2 * ROWS, "branches of earlier rounds are retained"


class Elites(Model):
    """Member m adds 10 m + 1 to the first pixel of row b, and 4 b m more; P(reward) is m / 4."""

    def predict_elites(self, context: Any, action: Any) -> Any:
        rows = torch.arange(len(action))
        frames = context[:, -1].repeat(len(self.elites), 1, 1, 1)
        probs = torch.zeros(len(self.elites), len(action), 3)
        for place, m in enumerate(self.elites):
            frames[place, :, 0, 0] += (10 * m + 1 + 4 * rows * m).to(torch.uint8)
            probs[place] = torch.tensor([0.0, 1 - m / 4, m / 4])
        return frames, probs, torch.full((len(self.elites), len(action)), 0.5)

    def decide(self, reward_probs: Any, end_prob: Any) -> Any:
        return reward_probs[:, 2].clone(), end_prob > 0.9


def run_elites(
    model: Model, rows: int = ROWS, horizon: int = 1, **settings: Any
) -> tuple[Any, ModelBuffer, RolloutEngine]:
    buffer = ModelBuffer(64, context=CONTEXT, horizon=2, frame_shape=(SIDE, SIDE), seed=0)
    engine = RolloutEngine(seed=0, **settings)
    engine.run(
        np.zeros((rows, CONTEXT, SIDE, SIDE), np.uint8), Policy(), model, buffer, horizon=horizon, epsilon=0.0
    )
    return buffer.export(0, rows), buffer, engine


def test_mean_propagation_averages_frames_and_probabilities() -> None:
    stored, _, _ = run_elites(Elites([1, 3]), rows=8, propagation="mean")
    expected = [(11 + 4 * b + 31 + 12 * b) / 2 for b in range(8)]
    assert stored["frame"][:, CONTEXT, 0, 0].tolist() == expected
    assert np.allclose(stored["reward"][:, 0], 0.5)


def test_with_uncertainty_on_the_drawn_member_still_makes_the_step() -> None:
    stored, _, engine = run_elites(Elites([1, 3]), rows=8, uncertainty=UncertaintyConfig(measure=True))
    assert engine.metrics["masked_share"] == 0.0
    member = stored["member"][:, 0].astype(int)
    assert set(member) == {1, 3}
    assert np.array_equal(stored["frame"][:, CONTEXT, 0, 0], 10 * member + 1 + 4 * np.arange(8) * member)
    assert np.allclose(stored["reward"][:, 0], member / 4)


def test_with_uncertainty_on_the_drawn_member_alone_ends_its_branch() -> None:
    class Ending(Elites):
        def predict_elites(self, context: Any, action: Any) -> Any:
            frames, probs, ends = super().predict_elites(context, action)
            ends[self.elites.index(3)] = 0.95
            return frames, probs, ends

    stored, _, _ = run_elites(Ending([1, 3]), 8, 2, uncertainty=UncertaintyConfig(measure=True))
    first = stored["member"][:, 0]
    assert set(first) == {1, 3}
    assert np.array_equal(stored["length"], np.where(first == 3, 1, 2))


def test_the_most_doubtful_rows_are_masked_and_their_branches_stop() -> None:
    mask = UncertaintyConfig(mask_share=0.25)
    stored, buffer, engine = run_elites(Elites([1, 3]), rows=8, uncertainty=mask)
    assert stored["length"].tolist() == [1] * 6 + [0] * 2, "disagreement grows with the row"
    assert buffer.num_transitions == 6
    assert engine.metrics["masked_share"] == 0.25
    assert buffer.sample(32, 1).obs.shape[0] == 32
    stored, _, _ = run_elites(Elites([1, 3]), 8, 2, uncertainty=mask)
    assert stored["length"].tolist() == [2] * 5 + [1] + [0] * 2, "a quarter of the six that went on"
    unmasked, _, quiet = run_elites(Elites([1, 3]), rows=8)
    assert unmasked["length"].tolist() == [1] * 8
    assert quiet.metrics == {}


def test_the_bonus_is_added_to_imagined_rewards() -> None:
    plain, _, _ = run_elites(Elites([1, 3]), rows=4, uncertainty=UncertaintyConfig(measure=True))
    paid, _, engine = run_elites(Elites([1, 3]), rows=4, uncertainty=UncertaintyConfig(bonus=2.0))
    # Of two members half the distance is the standard deviation: (20 + 8 b) / 2 levels, 0.5 / 2 of P.
    doubt = np.array([(10 + 4 * b) / 255 + 0.25 for b in range(4)])
    assert np.allclose(paid["reward"][:, 0] - plain["reward"][:, 0], 2.0 * doubt, atol=1e-6)
    assert engine.metrics["disagreement"] == pytest.approx(doubt.mean())


def test_disagreement_looks_at_changed_pixels_alone() -> None:
    newest = torch.full((1, 4, 4), 100, dtype=torch.uint8)
    frames = newest.repeat(2, 1, 1, 1)
    probs = torch.tensor([0.0, 1.0, 0.0]).repeat(2, 1, 1)
    assert disagreement(newest, frames, probs).tolist() == [0.0]
    frames[0, 0, 0, 0] += 4  # not more than four levels: no change
    assert disagreement(newest, frames, probs).tolist() == [0.0]
    frames[0, 0, 0, 0] += 16
    assert disagreement(newest, frames, probs).item() == pytest.approx(10 / 255)
    probs[0, 0] = torch.tensor([0.0, 0.5, 0.5])
    assert disagreement(newest, frames, probs).item() == pytest.approx(10 / 255 + 0.25)


def test_frames_and_actions_go_to_where_the_networks_are() -> None:
    asked = []

    class Elsewhere(Model):
        def step(self, context: Any, action: Any, member: Any) -> Any:
            asked.append((context.device.type, action.device.type))
            return super().step(torch.from_numpy(start()), action, member)

    model = Elsewhere([0])
    model.device = torch.device("meta")
    run(model, 1)
    assert asked == [("meta", "meta")]
