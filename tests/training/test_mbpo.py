"""The loop of MBPO: when it fits and imagines, what the gate lets through, where branches begin."""

from typing import Any

import numpy as np
import pytest
import torch

from mbpo_fast.config import load_config
from mbpo_fast.errors import UsageError
from mbpo_fast.training.build import build
from mbpo_fast.training.mbpo import Trainer
from mbpo_fast.training.timer import PhaseTimer

GOOD = {
    "holdout_rows": 500.0, "changed_error_ratio": 0.5, "frame_error_ratio": 0.5, "reward_f1": 0.9,
    "false_ends": 0.0,
}  # fmt: skip
COPY = GOOD | {"changed_error_ratio": 1.0, "frame_error_ratio": 1.0, "reward_f1": 0.0}
TINY = {
    "threads": "1", "training.learning_starts": "60", "training.total_steps": "200", "model.train_freq": "40",
    "training.updates_per_step": "0.25", "training.batch_size": "8", "training.rollout_epsilon": "0.25",
    "training.model_rollout_batch_size": "16", "agent.hidden": "16", "model.gate.mode": "auto",
}  # fmt: skip


class Scripted:
    """A loop whose model comes out of each fit as told, and notes of what the loop did.

    Attributes:
        fits, rollouts: agent steps at each fit, and at each rollout with its draw and epsilon.
        synthetic: by agent steps, the imagined rows that had been learned from.

    """

    def __init__(self, verdicts: list[dict[str, float]], **keys: str) -> None:
        overrides = TINY | {key.replace("__", "."): value for key, value in keys.items()}
        self.loop = Trainer(build(load_config(["debug"], overrides)), PhaseTimer())
        assert self.loop.imagination is not None
        self.imagination = self.loop.imagination
        self.fits: list[int] = []
        self.rollouts: list[tuple[int, int, float]] = []
        self.synthetic: dict[int, int] = {}
        self._verdicts = iter(verdicts)
        trainer, self._roll_out = self.imagination.world.trainer, self.imagination.roll_out
        trainer.fit = self._fit  # type: ignore[method-assign]
        self.imagination.roll_out = self._note_rollout  # type: ignore[method-assign]
        self.loop.collector.start(0)

    def _fit(self, _replay: Any, _on_check: Any) -> dict[str, float]:
        self.fits.append(self.loop.collector.env_steps)
        self.imagination.world.trainer.rounds += 1
        return dict(next(self._verdicts))

    def _note_rollout(self, count: int, *, draw: int, epsilon: float) -> None:
        self.rollouts.append((self.loop.collector.env_steps, draw, epsilon))
        self._roll_out(count, draw=draw, epsilon=epsilon)

    def run(self) -> "Scripted":
        collector, sampler = self.loop.collector, self.loop.parts.sampler

        def note() -> bool:
            self.synthetic[collector.env_steps] = sampler.synthetic_rows
            return False

        self.loop.train(
            on_log=lambda step, metrics: None, on_save=lambda step: None, on_evaluate=dict, interrupted=note
        )
        note()
        collector.env.close()
        return self


def test_it_fits_when_learning_begins_and_then_at_every_period() -> None:
    done = Scripted([GOOD] * 5).run()
    # Catch has rows that only carry a reset: the steps at which an iteration ends are not all multiples of 4.
    assert done.fits[0] in range(60, 64)
    assert [step // 40 for step in done.fits[1:]] == [2, 3, 4, 5]
    assert [step for step, _, _ in done.rollouts] == done.fits
    assert [draw for _, draw, _ in done.rollouts] == [1, 2, 3, 4, 5], "each round begins elsewhere"
    assert {epsilon for _, _, epsilon in done.rollouts} == {0.25}
    assert done.imagination.gate_opened_at == done.fits[0], "it opened once"
    assert done.synthetic[max(done.synthetic)] > 0


def test_a_copy_of_the_last_frame_feeds_nothing() -> None:
    done = Scripted([COPY] * 5).run()
    assert done.rollouts == []
    assert set(done.synthetic.values()) == {0}
    assert done.loop.parts.sampler.real_rows > 0
    assert done.imagination.gate_opened_at is None


def test_a_model_that_never_learns_is_judged_a_copy_and_feeds_nothing() -> None:
    """With a real fit: a fresh member says that nothing changes, and no update makes it more."""
    lenient = {
        "model.gate.min_reward_f1": "0",
        "model.gate.max_false_ends": "1",
        "model.gate.min_holdout": "16",
    }
    loop = Trainer(build(load_config(["debug"], TINY | lenient)), PhaseTimer())
    imagination = loop.imagination
    assert imagination is not None
    nothing = {name: torch.zeros(()) for name in ("frame", "reward", "end")}
    imagination.world.model.update = lambda *_: nothing  # type: ignore[method-assign]
    loop.collector.start(0)
    loop.train(
        on_log=lambda step, metrics: None,
        on_save=lambda step: None,
        on_evaluate=dict,
        interrupted=lambda: False,
    )
    loop.collector.env.close()
    judged = imagination.metrics
    assert imagination.world.trainer.rounds > 0
    assert judged["holdout_rows"] >= 16
    assert (judged["changed_error_ratio"], judged["frame_error_ratio"]) == (1.0, 1.0)
    assert loop.parts.sampler.synthetic_rows == 0 < loop.parts.sampler.real_rows


def test_the_gate_asks_for_what_the_settings_say() -> None:
    assert GOOD["changed_error_ratio"] > 0.4
    strict = Scripted([GOOD] * 5, model__gate__max_changed_error="0.4").run()
    assert strict.rollouts == []
    assert "expected at most 0.4" in strict.loop.gate_verdict


def test_batches_ask_for_imagined_rows_while_the_gate_is_open_alone() -> None:
    scripted = Scripted([COPY, GOOD, GOOD, COPY, COPY])
    sampler, asked = scripted.loop.parts.sampler, set()
    sample = sampler.sample

    def noted(n_step: int, *, use_model: bool, **settings: Any) -> Any:
        asked.add((len(scripted.fits), use_model))
        return sample(n_step, use_model=use_model, **settings)

    sampler.sample = noted  # type: ignore[method-assign]
    scripted.run()
    assert asked == {(1, False), (2, True), (3, True), (4, False), (5, False)}


def test_the_gate_opens_and_closes_between_fits() -> None:
    done = Scripted([COPY, GOOD, COPY, COPY, COPY]).run()
    opened, closed = done.fits[1:3]
    assert [step for step, _, _ in done.rollouts] == [opened]
    assert done.imagination.gate_opened_at == opened
    learned = {step: rows for step, rows in done.synthetic.items() if rows}
    assert min(learned) in range(opened, opened + 8)
    assert done.imagination.world.buffer.num_transitions == 0, "a model that is refused is not remembered"
    assert len({rows for step, rows in learned.items() if step >= closed}) == 1


def test_a_gate_that_opens_again_lets_through_new_branches_alone() -> None:
    done = Scripted([GOOD, COPY, COPY, COPY, GOOD]).run()
    buffer = done.imagination.world.buffer
    assert [step for step, _, _ in done.rollouts] == [done.fits[0], done.fits[4]]
    assert 0 < buffer.size <= 16 < buffer.total


def test_a_run_that_goes_on_knows_what_the_gate_said() -> None:
    for verdicts, opened in (([GOOD] * 5, True), ([COPY] * 5, False)):
        before, after = Scripted(verdicts).run(), Scripted([])
        assert not after.imagination.gate_open
        after.loop.parts.load_state_dict(before.loop.parts.state_dict())
        assert after.imagination.gate_open is opened
        assert after.loop.gate_verdict == before.loop.gate_verdict


def test_rollouts_explore_as_the_settings_say() -> None:
    done = Scripted([GOOD] * 5)
    engine, asked = done.imagination.world.engine, []
    run = engine.run

    def spy(*arguments: Any, **named: Any) -> Any:
        asked.append((arguments[1] is done.loop.agent, named["horizon"], named["epsilon"]))
        return run(*arguments, **named)

    engine.run = spy  # type: ignore[method-assign]
    done.run()
    assert set(asked) == {(True, done.imagination.horizon(), 0.25)}


def test_a_rollout_in_parts_begins_in_the_same_states(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = []
    for chunk in (512, 5):
        monkeypatch.setattr("mbpo_fast.training.imagination.START_CHUNK", chunk)
        buffer = Scripted([GOOD] * 5).run().imagination.world.buffer
        assert buffer.total == 5 * 16
        frames.append(buffer.export(buffer.oldest, buffer.total)["frame"][:, : buffer.context])
    assert np.array_equal(*frames)
    assert len(np.unique(frames[0], axis=0)) > 16


def test_a_rollouts_doubts_are_means_over_its_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mbpo_fast.training.imagination.START_CHUNK", 5)
    imagination = Scripted([COPY] * 5).run().imagination
    engine = imagination.world.engine

    def told(start: Any, *_: Any, **__: Any) -> int:
        engine.metrics = {"disagreement": float(len(start))}
        return 0

    engine.run = told  # type: ignore[method-assign]
    imagination.roll_out(16, draw=1, epsilon=0.0)
    assert imagination.metrics["disagreement"] == pytest.approx((3 * 5 * 5 + 1 * 1) / 16)


def test_branches_begin_in_other_states_with_every_draw() -> None:
    imagination = Scripted([COPY] * 5).run().imagination
    first, second = imagination._starts(32, 1), imagination._starts(32, 2)
    assert np.array_equal(first, imagination._starts(32, 1))
    assert not np.array_equal(first, second)
    assert set(first) <= set(imagination.replay.valid_ids(1, context=4).tolist())


def test_the_length_of_a_branch_follows_the_schedule() -> None:
    loop = Scripted([], training__rollout_schedule="[0, 2, 1, 3]", training__epoch_length="50")
    lengths = []
    for step in (0, 60, 109, 110, 160, 400):
        loop.loop.collector.env_steps = step
        lengths.append(loop.imagination.horizon())
    assert lengths == [1, 1, 1, 2, 3, 3], "epochs begin when learning does"


def test_batches_have_the_learners_horizon_and_discount() -> None:
    annealed = {"agent__n_step_start": "5", "agent__n_step": "2", "agent__gamma_start": "0.9"}
    done = Scripted([COPY] * 5, agent__anneal_steps="15", agent__gamma="0.95", **annealed)
    sampler, agent = done.loop.parts.sampler, done.loop.parts.agent
    asked, sample = [], sampler.sample

    def noted(n_step: int, *, gamma: float, **settings: Any) -> Any:
        assert (n_step, gamma) == (agent.n_step, agent.gamma)
        asked.append((n_step, round(gamma, 6)))
        return sample(n_step, gamma=gamma, **settings)

    sampler.sample = noted  # type: ignore[method-assign]
    done.run()
    assert asked[0] == (5, 0.9)
    assert asked[-1] == (2, 0.95)
    assert len({n for n, _ in asked}) > 2


def test_prioritised_replay_has_the_learners_exponents() -> None:
    settings = {"agent.prioritized": "true", "agent.priority_exponent": "0.7"}
    parts = build(load_config(["debug"], settings | {"agent.importance_exponent": "0.3"}))
    for step in range(30):
        frame = np.full((parts.replay.num_envs, *parts.replay.frame_shape), step, np.uint8)
        no = np.zeros(len(frame), bool)
        parts.replay.add(frame, no.astype(int), np.zeros(len(frame)), no, no, no | (step == 0))
    ids = parts.replay.valid_ids(1)
    given = 1.0 + np.arange(len(ids), dtype=np.float32)
    parts.replay.update_priorities(ids, given)
    assert np.allclose(parts.replay.priorities(ids), given**0.7, rtol=1e-4)
    batch = parts.sampler.sample(1, gamma=0.9, use_model=False)
    raised = parts.replay.priorities(batch.ids)
    assert len(set(raised.tolist())) > 1
    # (K P)^-beta over the largest of the batch: the total and K cancel.
    assert np.allclose(batch.weight, (raised / raised.min()) ** -0.3, rtol=1e-4)


def test_exploration_decays_after_the_random_phase() -> None:
    done = Scripted([COPY] * 5, agent__epsilon_steps="100", agent__epsilon_final="0.1")
    collector, agent = done.loop.collector, done.loop.parts.agent
    seen, act = [], agent.act

    def noted(obs: Any, epsilon: float, **settings: Any) -> Any:
        seen.append((collector.env_steps, epsilon))
        return act(obs, epsilon, **settings)

    agent.act = noted  # type: ignore[method-assign]
    done.run()
    for step, epsilon in seen:
        expected = 1.0 if step < 60 else max(0.1, 1.0 - 0.9 * (step - 60) / 100)
        assert abs(epsilon - expected) < 1e-9, step
    assert seen[-1][1] < 0.1 + 1e-9


@pytest.mark.parametrize("stack", [1, 3, 6])
def test_any_number_of_stacked_frames(stack: int) -> None:
    keys = {"env__frame_stack": str(stack), "model__context": "6"}
    done = Scripted([GOOD] * 5, **keys).run()
    assert done.synthetic[max(done.synthetic)] > 0
    assert done.loop.parts.sampler.sample(1, gamma=0.9).obs.shape[1] == stack


def test_learning_cannot_start_before_a_whole_return() -> None:
    settings = {"training.learning_starts": "10", "agent.n_step": "5", "env.num_envs": "2"}
    with pytest.raises(UsageError, match=r"learning_starts must cover 5 steps of each of 2 .*, 12, got 10"):
        load_config(["debug"], settings)


def test_before_the_first_round_nothing_is_imagined_even_without_a_gate() -> None:
    """Where every episode so far is held out, a fit makes no round, and the model is as it was drawn."""
    done = Scripted([GOOD] * 5, model__gate__mode="off")
    done.imagination.world.trainer.fit = lambda *_: {"holdout_rows": 0.0}  # type: ignore[method-assign]
    done.run()
    assert done.rollouts == []
    assert done.loop.parts.sampler.synthetic_rows == 0


@pytest.mark.parametrize("prioritized", ["false", "true"])
def test_a_learner_that_diverges_is_one_line_before_anything_is_saved(prioritized: str) -> None:
    keys = {"training.real_ratio": "1", "agent.prioritized": prioritized, "log.every": "100000"}
    loop = Trainer(build(load_config(["debug"], TINY | keys)), PhaseTimer())
    loop.collector.start(0)
    saved: list[int] = []
    with torch.no_grad():
        for parameter in loop.parts.agent.network.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(UsageError, match=r"expected a finite .*, got nan; lower agent\.learning_rate or"):
        loop.train(
            on_log=lambda step, metrics: None,
            on_save=saved.append,
            on_evaluate=dict,
            interrupted=lambda: False,
        )
    loop.collector.env.close()
    assert saved == []
