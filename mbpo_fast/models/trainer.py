"""Fits the world model to the replay buffer: held-out episodes, fixed bootstraps, early stop, elites."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mbpo_fast.models.config import ModelConfig
from mbpo_fast.models.early_stop import EarlyStop
from mbpo_fast.models.ensemble import WorldModel
from mbpo_fast.models.episodes import evenly
from mbpo_fast.models.losses import typical_change
from mbpo_fast.models.metrics import average_precision, best_threshold, f1_score, pixel_errors, ratio
from mbpo_fast.models.pools import Ids, Pool, draw_rows, member_pools
from mbpo_fast.nets.augment import random_shift
from mbpo_fast.nets.tensors import on_device, on_host
from mbpo_fast.ops import Stream, random_integers, random_uniform


class TransitionRows(Protocol):
    """The fields of a one-step `mbpo_fast.data.Batch` that the trainer reads.

    window: uint8 [B, C + 1, h, w], an array or a tensor, the context and the frame after it.
    """

    window: Any
    action: NDArray[np.int64]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]


class Replay(Protocol):
    """The part of `mbpo_fast.data.ReplayBuffer` that the trainer reads."""

    num_envs: int

    def valid_ids(self, n_step: int = 1, *, context: int = 4, split: str = "all") -> Ids:
        """Ids of all transitions of a split."""

    def gather(
        self, ids: Ids, n_step: int = 1, *, gamma: float = 0.99, context: int = 4, out: Any = None
    ) -> TransitionRows:
        """The rows of these ids, into `out` where given."""

    def outcomes(self, ids: Ids) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Rewards and ends of these ids."""


OnCheck = Callable[[int, int], None]
"""Hears the updates made in a round, and those that it may make, after every held-out check."""


class ModelTrainer:
    """Trains a `WorldModel` on real transitions and judges it on episodes that it never trains on."""

    def __init__(self, model: WorldModel, *, seed: int) -> None:
        self.model = model
        self.config: ModelConfig = model.config
        self.seed = seed
        self.rounds = 0
        self.batches = 0
        # The memory of a batch, used again: fresh pages would cost more than the copies.
        self._drawn: TransitionRows | None = None
        self._moved: Tensor | None = None

    def fit(self, replay: Replay, on_check: OnCheck | None = None) -> dict[str, float]:
        """One round: train until the budget or the patience ends, keep each member's best weights, rank.

        Returns the metrics of `evaluate`, the mean training losses, the number of updates made, and how many
        members have `diverged`: their held-out score is no number, and their training begins anew from the
        best weights of this round. Where every episode so far is held out, nothing is trained: no round.
        """
        pools = self._pools(replay)
        if not pools:
            return {"holdout_rows": 0.0}
        if self.rounds == 0 and self.config.normalise:
            self._measure_changes(replay)
        budget = self.config.first_updates if self.rounds == 0 else self.config.updates
        holdout = self._holdout(replay)
        stop = EarlyStop(self.model, self.config.patience)
        scores = self._member_scores(holdout)
        stop.check(scores)
        sums: dict[str, Tensor] = {}
        updates = 0
        while updates < budget and not stop.exhausted:
            for _ in range(min(self.config.check_every, budget - updates)):
                losses = self.model.update(*self._batch(replay, pools))
                sums = {name: sums.get(name, 0.0) + loss for name, loss in losses.items()}
                updates += 1
            scores = self._member_scores(holdout)
            stop.check(scores)
            if on_check:
                on_check(updates, budget)
        self.model.elites = rank_elites(stop.restore_best(), self.config.num_elites)
        diverged = [] if scores is None else np.flatnonzero(~np.isfinite(scores)).tolist()
        for member in diverged:
            self.model.renew_learner(member)
        self._calibrate(replay)
        self.rounds += 1
        metrics = self.evaluate(holdout)
        metrics |= {f"train_{name}_loss": float(total) / updates for name, total in sums.items()}
        return metrics | {"updates": float(updates), "diverged": float(len(diverged))}

    def _measure_changes(self, replay: Replay) -> None:
        """Set the unit of change, once: a unit that moved with the data would move the held-out scores."""
        ids = replay.valid_ids(1, context=self.config.context, split="train")
        rows = replay.gather(evenly(ids, self.config.holdout_rows), context=self.config.context)
        context, _, next_frame, *_ = self._columns(rows)
        self.model.change_scale = typical_change(context[:, -1], next_frame)

    def _holdout(self, replay: Replay) -> TransitionRows | None:
        ids = replay.valid_ids(1, context=self.config.context, split="holdout")
        if not len(ids):
            return None
        return replay.gather(evenly(ids, self.config.holdout_rows), context=self.config.context)

    def _pools(self, replay: Replay) -> list[Pool]:
        """Each member's pool; none where there is nothing to train on."""
        ids = replay.valid_ids(1, context=self.config.context, split="train")
        if not len(ids):
            return []
        return member_pools(
            ids,
            *replay.outcomes(ids),
            num_envs=replay.num_envs,
            members=self.config.ensemble_size,
            seed=self.seed,
        )

    def _batch(self, replay: Replay, pools: Sequence[Pool]) -> tuple[Tensor, ...]:
        """Balanced rows for every member: context, action, next frame, reward, end, each [E, B, ...]."""
        size = self.config.batch_size
        ids = np.concatenate(
            [
                draw_rows(pool, self.config, seed=self.seed, step=self.batches * len(pools) + m)
                for m, pool in enumerate(pools)
            ]
        )
        self.batches += 1
        rows = self._drawn = replay.gather(ids, context=self.config.context, out=self._drawn)
        columns = self._columns(rows, self._shifted(on_device(rows.window, self.model.device)))
        return tuple(x.view(len(pools), size, *x.shape[1:]) for x in columns)

    def _shifted(self, window: Tensor) -> Tensor:
        """The windows with a share of the rows moved, all frames of a row alike.

        Few rewards are then harder to learn by heart.
        """
        most, count, step = self.config.random_shift, len(window), self.batches
        if not most:
            return window
        # Lanes after those that draw the offsets.
        draw = random_uniform(self.seed, Stream.MODEL_SHIFT, step, 2 * count)
        moved = draw[count:] < self.config.shifted_share
        offsets = (
            random_integers(self.seed, Stream.MODEL_SHIFT, step, count, 2 * most + 1, word=word) - most
            for word in (0, 2)
        )
        down, right = (on_device(offset * moved, self.model.device) for offset in offsets)
        self._moved = random_shift(window, down, right, out=self._moved)
        return self._moved

    def _columns(self, rows: TransitionRows, window: Tensor | None = None) -> tuple[Tensor, ...]:
        """Context, action, next frame, reward, end; `window` in place of the rows' own."""
        frames = on_device(rows.window, self.model.device) if window is None else window
        outcome = (on_device(x, self.model.device) for x in (rows.action, rows.reward, rows.terminated))
        action, reward, terminated = outcome
        return frames[:, :-1], action, frames[:, -1], reward, terminated

    def _member_scores(self, rows: TransitionRows | None) -> NDArray[np.float64] | None:
        """Held-out score of each member f64 [E], lower is better; None without held-out rows."""
        members = range(self.config.ensemble_size)
        if rows is None:
            return None
        tensors = self._columns(rows)
        return np.array(self.model.each(lambda m: self.model.score(m, *tensors), members))

    def _predict(self, rows: TransitionRows) -> list["_MemberPrediction"]:
        """Each elite's word on every row."""
        context, action, *_ = self._columns(rows)
        said = self.model.each(lambda m: self.model.predict(context, action, m), self.model.elites)
        return [
            _MemberPrediction(frame.cpu().numpy(), reward.cpu(), end.cpu().numpy())
            for frame, reward, end in said
        ]

    def _calibrate(self, replay: Replay) -> None:
        """Set the reward and end thresholds to the best F1 on training rows.

        Of rewards and ends up to `holdout_rows`, of the others up to twice as many: weighted, so that they
        count as often as they come, but no few of them decide. What never came keeps its threshold.
        """
        ids = replay.valid_ids(1, context=self.config.context, split="train")
        reward, terminated = replay.outcomes(ids)
        rare, most = (reward != 0) | terminated, self.config.holdout_rows
        groups = (ids[rare], evenly(ids[rare], most)), (ids[~rare], evenly(ids[~rare], 2 * most))
        weight = np.concatenate([np.full(len(few), len(all_) / max(len(few), 1)) for all_, few in groups])
        rows = replay.gather(np.concatenate([few for _, few in groups]), context=self.config.context)
        predictions = self._predict(rows)
        weight, rewarded, ended = (
            np.tile(x, len(predictions)) for x in (weight, rows.reward != 0, rows.terminated)
        )
        reward_score = np.concatenate([1.0 - p.reward_probs[:, 1].numpy() for p in predictions])
        end_score = np.concatenate([p.end_prob for p in predictions])
        model = self.model
        model.reward_threshold = best_threshold(reward_score, rewarded, model.reward_threshold, weight)
        model.end_threshold = best_threshold(end_score, ended, model.end_threshold, weight)

    def evaluate(self, rows: TransitionRows | None) -> dict[str, float]:
        """Errors of the elites on held-out rows in gray levels, beside those of copying the last frame."""
        if rows is None:
            return {"holdout_rows": 0.0}
        predictions = self._predict(rows)
        newest, target = on_host(rows.window[:, -2]), on_host(rows.window[:, -1])
        errors = [pixel_errors(newest, target, p.frame).pooled() for p in predictions]
        metrics = {name: float(np.mean([e[name] for e in errors])) for name in errors[0]}
        metrics["holdout_rows"] = float(len(rows.action))
        return metrics | self._outcome_metrics(predictions, rows)

    def _outcome_metrics(
        self, predictions: Sequence["_MemberPrediction"], rows: TransitionRows
    ) -> dict[str, float]:
        decided = [self.model.decide_reward(p.reward_probs).numpy() for p in predictions]
        actual = np.sign(rows.reward)
        reward_f1 = np.mean([f1_score(d, actual) for d in decided])
        going_on = ~rows.terminated
        false_ends = np.mean(
            [
                ratio(((p.end_prob > self.model.end_threshold) & going_on).sum(), going_on.sum())
                for p in predictions
            ]
        )
        return {
            "reward_f1": float(reward_f1),
            "false_ends": float(false_ends),
            "end_pr_auc": float(
                np.mean([average_precision(p.end_prob, rows.terminated) for p in predictions])
            ),
        }

    def state_dict(self) -> dict[str, Any]:
        """Counters; all draws depend on them and on the seed."""
        return {"rounds": self.rounds, "batches": self.batches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.rounds, self.batches = int(state["rounds"]), int(state["batches"])


class _MemberPrediction:
    def __init__(self, frame: NDArray[np.uint8], reward_probs: Tensor, end_prob: NDArray[np.float32]) -> None:
        self.frame, self.reward_probs, self.end_prob = frame, reward_probs, end_prob


def rank_elites(scores: NDArray[np.float64], count: int) -> list[int]:
    """The `count` members of lowest score, best first; infinity and NaN rank last."""
    return [int(m) for m in np.argsort(scores, kind="stable")[:count]]
