"""Each figure of the report card against loops over single pixels and steps, on tiny constructed games."""

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mbpo_fast.models import ModelConfig, WorldModel
from mbpo_fast.models.episodes import Episode, Transitions, episodes_of
from mbpo_fast.models.metrics import reward_signs
from mbpo_fast.models.report_card import CHUNK, Figures, ReportCard, report_card
from mbpo_fast.models.voices import ensemble_word, predict_all

SIDE, CONTEXT, ACTIONS = 12, 3, 3


def follow(frame: np.ndarray, action: int) -> tuple[np.ndarray, float, bool]:
    """Rows 0-1 turn by the action, the others by one; reward and end by where the bright pixel is."""
    following = np.roll(frame, 1, axis=1)
    following[:2] = np.roll(frame[:2], action, axis=1)
    bright = int(following[0].argmax())
    return following, {3: 1.0, 5: -1.0}.get(bright, 0.0), bright == 7


def episode(seed: int, steps: int) -> Episode:
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 12, (SIDE, SIDE), dtype=np.uint8)
    frame[0, rng.integers(SIDE)] = 250
    frames, outcomes = [frame], []
    actions = rng.integers(0, ACTIONS, steps)
    for action in actions:
        frame, *outcome = follow(frames[-1], int(action))
        frames.append(frame)
        outcomes.append(outcome)
    reward, end = zip(*outcomes, strict=True)
    return Episode(np.stack(frames), actions, np.array(reward, np.float32), np.array(end))


class Stub:
    """The model's outside interface over a function of (context, action, member) for a single row."""

    def __init__(self, members: int = 3, elites: tuple[int, ...] = (0, 2)) -> None:
        self.config = SimpleNamespace(context=CONTEXT, ensemble_size=members)
        self.elites = list(elites)
        self.reward_threshold, self.end_threshold = 0.5, 0.5
        self.device = torch.device("cpu")

    def each(self, function: Any, members: Any) -> list[Any]:
        return [function(m) for m in members]

    def predict(self, context: Tensor, action: Tensor, member: int) -> tuple[Tensor, Tensor, Tensor]:
        assert context.shape[1:] == (CONTEXT, SIDE, SIDE)
        said = [self.row(c, int(a), member) for c, a in zip(context.numpy(), action, strict=True)]
        frame, reward, end = zip(*said, strict=True)
        return torch.tensor(np.stack(frame)), torch.tensor(reward), torch.tensor(end)

    def row(self, context: np.ndarray, action: int, member: int) -> tuple[np.ndarray, list[float], float]:
        raise NotImplementedError


class Copy(Stub):
    def row(self, context: np.ndarray, action: int, member: int) -> tuple[np.ndarray, list[float], float]:
        return context[-1], [0.2, 0.6, 0.2], 0.1


class Perfect(Stub):
    def row(self, context: np.ndarray, action: int, member: int) -> tuple[np.ndarray, list[float], float]:
        frame, reward, end = follow(context[-1], action)
        return frame, [0.9 * (reward < 0), 0.1 + 0.8 * (reward == 0), 0.9 * (reward > 0)], 0.2 + 0.5 * end


class Rough(Stub):
    """Right but for noise by frames, action and member, and unsure of outcomes."""

    def row(self, context: np.ndarray, action: int, member: int) -> tuple[np.ndarray, list[float], float]:
        frame, reward, end = follow(context[-1], action)
        key = [member, action, int(context[-1].astype(int).sum()), int(context[0].astype(int).sum())]
        rng = np.random.default_rng(key)
        size = 1 + int(context[-1, 3, 3]) // 2
        noise = rng.integers(-size, size + 1, frame.shape)
        noisy = np.clip(frame + noise, 0, 255).astype(np.uint8)
        happens, ends = 0.7 * rng.random() + 0.3 * (reward != 0), 0.7 * rng.random() + 0.3 * end
        return noisy, [happens * (reward < 0), 1 - happens, happens * (reward >= 0)], ends


def card(model: Stub, **settings: Any) -> ReportCard:
    settings = {"calibration": [episode(100 + i, 25) for i in range(3)], "seed": 4} | settings
    return report_card(model, [episode(i, 20 + i) for i in range(5)], **settings)  # type: ignore[arg-type]


def voices(found: ReportCard) -> list[Figures]:
    return [*found.members, found.ensemble]


def slow_frames(model: Stub, game: Episode, start: int, steps: int, voice: int) -> np.ndarray:
    """The frame after `steps` open-loop steps, one row at a time."""
    seen = [game.frames[max(start - age, 0)] for age in range(CONTEXT - 1, -1, -1)]
    for t in range(start, start + steps):
        members = model.elites if voice == model.config.ensemble_size else [voice]
        said = [model.row(np.stack(seen), int(game.action[t]), m)[0].astype(float) for m in members]
        seen = [*seen[1:], np.rint(sum(said) / len(said)).astype(np.uint8)]
    return seen[-1]


def slow_errors(model: Stub, games: list[Episode], steps: int, voice: int) -> dict[str, float]:
    sums = dict.fromkeys(("rows", "changed", "changed_error", "changed_copy", "frame_error", "frame_copy"), 0)
    for game in games:
        for start in range(len(game.action) - steps + 1):
            frame = slow_frames(model, game, start, steps, voice)
            sums["rows"] += 1
            for place in np.ndindex(SIDE, SIDE):
                last, true = int(game.frames[start][place]), int(game.frames[start + steps][place])
                error, copy = abs(int(frame[place]) - true), abs(last - true)
                sums["frame_error"] += error
                sums["frame_copy"] += copy
                if copy > 4:
                    sums["changed"] += 1
                    sums["changed_error"] += error
                    sums["changed_copy"] += copy
    pixels = sums["rows"] * SIDE * SIDE
    return {
        "rows": sums["rows"],
        "changed_error": sums["changed_error"] / sums["changed"],
        "changed_error_copy": sums["changed_copy"] / sums["changed"],
        "changed_error_ratio": sums["changed_error"] / sums["changed_copy"],
        "frame_error": sums["frame_error"] / pixels,
        "frame_error_copy": sums["frame_copy"] / pixels,
        "frame_error_ratio": sums["frame_error"] / sums["frame_copy"],
    }


def test_errors_are_those_of_a_loop_over_pixels() -> None:
    games = [episode(0, 7), episode(1, 4)]
    model = Rough()
    found = report_card(model, games, calibration=games, horizons=(1, 3, 6))  # type: ignore[arg-type]
    assert [figures.errors.keys() for figures in voices(found)] == [{1, 3, 6}] * 4
    for voice, figures in enumerate(voices(found)):
        for steps, errors in figures.errors.items():
            assert errors == pytest.approx(slow_errors(model, games, steps, voice)), (voice, steps)


def test_a_copy_of_the_last_frame_has_ratio_one() -> None:
    for figures in voices(card(Copy())):
        for errors in figures.errors.values():
            assert errors["changed_error_ratio"] == errors["frame_error_ratio"] == 1.0
        assert figures.action_sensitivity["changed"] == figures.action_sensitivity["frame"] == 1.0


def test_a_perfect_model_is_without_error() -> None:
    found = card(Perfect())
    assert found.rewarded > 10
    assert found.ended > 3
    for figures in voices(found):
        for errors in figures.errors.values():
            assert errors["changed_error_ratio"] == errors["frame_error"] == 0.0
        for outcome in (figures.reward, figures.end):
            assert outcome["f1"] == outcome["precision"] == outcome["recall"] == outcome["pr_auc"] == 1.0
        assert math.isnan(figures.action_sensitivity["changed"]), "no error to compare with"


def test_what_rollouts_decide_is_by_the_models_own_thresholds() -> None:
    games = [episode(seed, 30) for seed in range(3)]
    model: Any = Perfect()
    card = report_card(model, games, calibration=games)
    assert card.decided["reward"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert card.decided["end"]["false"] == 0.0
    model.reward_threshold, model.end_threshold = 0.95, 0.1
    card = report_card(model, games, calibration=games)
    assert card.decided["reward"]["recall"] == 0.0, "nothing passes 0.95"
    assert card.decided["end"]["false"] == 1.0, "everything passes 0.1"
    assert card.ensemble.reward["f1"] == 1.0, "the card's own thresholds stay"


def test_thresholds_come_from_the_calibration_games_alone() -> None:
    games, others = [episode(i, 30) for i in range(4)], [episode(50 + i, 30) for i in range(4)]
    first = report_card(Rough(), games, calibration=others, horizons=(1,))  # type: ignore[arg-type]
    second = report_card(Rough(), games, calibration=games, horizons=(1,))  # type: ignore[arg-type]
    assert first.ensemble.reward["threshold"] != second.ensemble.reward["threshold"]
    assert first.ensemble.reward["pr_auc"] == second.ensemble.reward["pr_auc"]
    for voice in range(4):
        said = np.array([_outcome(Rough(), game, t, voice) for game in others for t in range(30)])
        reward = np.concatenate([game.reward for game in others])
        end = np.concatenate([game.terminated for game in others])
        figures = voices(first)[voice]
        for name, probability, actual in (("reward", said[:, 0], reward != 0), ("end", said[:, 1], end)):
            best = max(_f1(probability > t, actual) for t in probability - 1e-9)
            threshold = getattr(figures, name)["threshold"]
            assert _f1(probability > threshold, actual) == pytest.approx(best)


def _outcome(model: Stub, game: Episode, t: int, voice: int) -> tuple[float, float]:
    context = np.stack([game.frames[max(t - age, 0)] for age in range(CONTEXT - 1, -1, -1)])
    members = model.elites if voice == model.config.ensemble_size else [voice]
    said = [model.row(context, int(game.action[t]), m) for m in members]
    return float(np.mean([1 - reward[1] for _, reward, _ in said])), float(np.mean([end for *_, end in said]))


def _f1(predicted: np.ndarray, actual: np.ndarray) -> float:
    hits = int((predicted & actual).sum())
    return 2 * hits / max(1, int(predicted.sum()) + int(actual.sum()))


def test_outcomes_are_those_of_a_loop() -> None:
    found = card(Rough(), horizons=(1,))
    games = [episode(i, 20 + i) for i in range(5)]
    assert found.rows == sum(len(game.action) for game in games)
    for voice, figures in enumerate(voices(found)):
        said = np.array(
            [_outcome(Rough(), game, t, voice) for game in games for t in range(len(game.action))]
        )
        reward = np.concatenate([game.reward for game in games])
        end = np.concatenate([game.terminated for game in games])
        assert (found.rewarded, found.ended) == ((reward != 0).sum(), end.sum())
        # Rough always has the sign right where there is a reward; where there is none it says "positive".
        predicted = said[:, 0] > figures.reward["threshold"]
        hits = int((predicted & (reward != 0)).sum())
        assert figures.reward["precision"] == pytest.approx(hits / predicted.sum())
        assert figures.reward["recall"] == pytest.approx(hits / (reward != 0).sum())
        assert figures.end["pr_auc"] == pytest.approx(_slow_average_precision(said[:, 1], end))


def _slow_average_precision(score: np.ndarray, actual: np.ndarray) -> float:
    total = recall_before = 0.0
    for threshold in sorted(set(score.tolist()), reverse=True):
        chosen = score >= threshold
        recall = (chosen & actual).sum() / actual.sum()
        total += (recall - recall_before) * (chosen & actual).sum() / chosen.sum()
        recall_before = recall
    return total


def test_shuffled_actions_cost_a_model_that_listens() -> None:
    class OneOff(Perfect):
        """Perfect, but for one pixel by one level: an error to compare with."""

        def row(self, context: np.ndarray, action: int, member: int) -> tuple[np.ndarray, list[float], float]:
            frame, reward, end = super().row(context, action, member)
            frame[0, 0] ^= 1
            return frame, reward, end

    def deaf(context: np.ndarray, action: int, member: int) -> tuple[np.ndarray, list[float], float]:
        return OneOff().row(context, 1, member)

    assert card(OneOff(), horizons=(1,)).ensemble.action_sensitivity["frame"] > 5.0
    model = OneOff()
    model.row = deaf  # type: ignore[method-assign]
    assert card(model, horizons=(1,)).ensemble.action_sensitivity["frame"] == 1.0
    again, other = (card(OneOff(), horizons=(1,), seed=seed).ensemble.action_sensitivity for seed in (4, 5))
    assert again == card(OneOff(), horizons=(1,)).ensemble.action_sensitivity != other


def test_few_pixels_are_counted_by_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mbpo_fast.models.report_card.FEW_PIXELS", 57)
    games = [episode(i, 20 + i) for i in range(5)]
    changed = np.concatenate(
        [(np.abs(np.diff(game.frames.astype(int), axis=0)) > 4).sum(axis=(1, 2)) for game in games]
    )
    found = card(Rough(), horizons=(1,))
    assert found.changed_share == pytest.approx(changed.mean() / SIDE**2)
    assert 0 < found.few_share < 1
    assert found.few_share == pytest.approx((changed < 57).mean())
    sensitivity = found.ensemble.action_sensitivity
    assert sensitivity["frame"] != sensitivity["frame_few"]


def test_disagreement_that_knows_the_error_has_correlation_one() -> None:
    class Honest(Perfect):
        """Member m is off by m times as much as the context says, so members differ where they err."""

        def row(self, context: np.ndarray, action: int, member: int) -> tuple[np.ndarray, list[float], float]:
            frame, reward, end = super().row(context, action, member)
            off = int(context[-1, 4, 4]) % 8
            return np.clip(frame.astype(int) + off * member, 0, 255).astype(np.uint8), reward, end

    assert card(Honest(), horizons=(1,)).disagreement["frame"] > 0.9
    assert math.isnan(card(Copy(), horizons=(1,)).disagreement["frame"]), "members that always agree"


def test_starts_bound_the_branches_and_no_figure_at_one_step() -> None:
    few, all_ = card(Rough(), starts=10), card(Rough())
    assert few.ensemble.errors[1] == all_.ensemble.errors[1]
    assert few.ensemble.errors[5]["rows"] <= 10 < all_.ensemble.errors[5]["rows"]


def test_horizons_beyond_every_episode_are_left_out() -> None:
    games = [episode(0, 6)]
    found = report_card(Copy(), games, calibration=games)  # type: ignore[arg-type]
    assert set(found.ensemble.errors) == {1, 5}


def test_cut_into_chunks_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = card(Rough()).to_dict()
    monkeypatch.setattr("mbpo_fast.models.report_card.CHUNK", 7)
    assert card(Rough()).to_dict() == whole
    assert CHUNK > 7


def test_json_has_no_nan() -> None:
    text = json.dumps(card(Copy()).to_dict(), allow_nan=False)
    assert json.loads(text)["disagreement"] == {"frame": None, "changed": None}


def test_without_a_step_it_says_so() -> None:
    empty = Episode(
        np.zeros((1, 6, 6), np.uint8), np.zeros(0, int), np.zeros(0, np.float32), np.zeros(0, bool)
    )
    with pytest.raises(ValueError, match="expected episodes with a step"):
        report_card(Copy(), [empty], calibration=[empty])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one frame more than steps"):
        Episode(empty.frames, np.zeros(1, int), empty.reward, empty.terminated)


def test_it_judges_a_real_world_model_as_its_rollouts_would() -> None:
    settings = ModelConfig(
        context=4, width=8, depth=1, outcome_width=8, ensemble_size=3, num_elites=2, bf16=False
    )
    model = WorldModel(settings, frame_shape=(SIDE, SIDE), num_actions=ACTIONS, seed=0)
    model.elites, model.reward_threshold = [2, 1], 0.6
    context = np.random.default_rng(0).integers(0, 256, (9, 4, SIDE, SIDE), dtype=np.uint8)
    action = np.arange(9) % ACTIONS
    words = predict_all(model, context, action)
    assert len(words) == 4
    frame, reward, end = model.predict(torch.tensor(context), torch.tensor(action), 1)
    assert np.array_equal(words[1].frame, frame)
    assert np.array_equal(words[1].end_prob, end)
    assert np.array_equal(reward_signs(words[1].reward_probs, 0.6), model.decide_reward(reward).numpy())
    assert np.array_equal(words[3].reward_probs, (words[2].reward_probs + words[1].reward_probs) / 2)
    assert all(map(np.array_equal, ensemble_word(model, context, action), words[3]))


def test_episodes_of_rows_of_a_replay_buffer() -> None:
    # Two lanes; rows: step that was cut off, reset, 2 steps, reset, 1 step. The second lane resets once.
    first = np.array([[0, 1, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0]], bool).T
    slots = {
        "frame": np.arange(12, dtype=np.uint8).reshape(6, 2, 1, 1),
        "action": np.arange(12).reshape(6, 2),
        "reward": np.arange(12, dtype=np.float32).reshape(6, 2) / 2,
        "terminated": np.arange(12).reshape(6, 2) == 6,
        "first": first,
    }
    episodes = episodes_of(slots)
    assert [e.frames.ravel().tolist() for e in episodes] == [[2, 4, 6], [8, 10], [1, 3, 5, 7, 9, 11]]
    assert [e.action.tolist() for e in episodes] == [[4, 6], [10], [3, 5, 7, 9, 11]]
    assert [e.reward.tolist() for e in episodes][:2] == [[2.0, 3.0], [5.0]]
    assert episodes[0].terminated.tolist() == [False, True]


def test_contexts_stop_at_the_reset() -> None:
    rows = Transitions([episode(0, 3), episode(1, 2)])
    assert rows.places().tolist() == [0, 1, 2, 4, 5]
    assert rows.left.tolist() == [3, 2, 1, 0, 2, 1, 0]
    stacks = rows.contexts(np.array([1, 4]), 3)
    assert np.array_equal(stacks[0], rows.frames[[0, 0, 1]])
    assert np.array_equal(stacks[1], rows.frames[[4, 4, 4]])
    assert rows.spread(3).tolist() == [0, 2, 5]
