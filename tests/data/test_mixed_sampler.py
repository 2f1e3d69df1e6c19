import numpy as np
import pytest

from mbpo_fast.data import Batch, MixedSampler, ModelBuffer, PrioritizedReplayBuffer, ReplayBuffer

SHAPE = (2, 3)
REAL, IMAGINED = 1, 2


def replay() -> ReplayBuffer:
    buffer = ReplayBuffer(50, 1, frame_shape=SHAPE, seed=1)
    no, yes = np.zeros(1, bool), np.ones(1, bool)
    for slot in range(30):
        frame = np.full((1, *SHAPE), REAL, np.uint8)
        buffer.add(frame, np.zeros(1, int), np.zeros(1), no, no, yes if slot == 0 else no)
    return buffer


def model_buffer(steps: int = 2) -> ModelBuffer:
    buffer = ModelBuffer(20, context=4, horizon=2, frame_shape=SHAPE, seed=1)
    ids = buffer.begin(np.full((20, 4, *SHAPE), IMAGINED, np.uint8))
    for _ in range(steps):
        frame = np.full((20, *SHAPE), IMAGINED, np.uint8)
        zeros = np.zeros(20, np.int64)
        buffer.append(ids, frame, zeros, zeros.astype(np.float32), zeros.astype(bool), zeros.astype(np.int16))
    return buffer


@pytest.mark.parametrize(
    ("batch_size", "real_ratio", "real"),
    [(256, 0.05, 12), (10, 0.25, 2), (32, 0.0, 1), (8, 0.01, 1), (8, 0.99, 7), (8, 1.0, 8), (1, 0.5, 1)],
)
def test_every_batch_holds_the_ratio(batch_size, real_ratio, real):
    sampler = MixedSampler(replay(), model_buffer(), batch_size, real_ratio)
    for _ in range(5):
        batch = sampler.sample(2, 0.9, use_model=True)
        for stacks in (batch.obs, batch.next_obs):
            assert (stacks[:real] == REAL).all()
            assert (stacks[real:] == IMAGINED).all()
    assert (sampler.real_rows, sampler.synthetic_rows) == (5 * real, 5 * (batch_size - real))


@pytest.mark.parametrize(
    ("imagined", "use_model"), [(model_buffer(), False), (model_buffer(steps=0), True), (None, True)]
)
def test_every_row_is_real_without_a_model_to_trust(imagined, use_model):
    sampler = MixedSampler(replay(), imagined, 16, 0.05)
    assert (sampler.sample(1, 0.9, use_model=use_model).obs == REAL).all()
    assert (sampler.real_rows, sampler.synthetic_rows) == (16, 0)


def test_n_step_and_gamma_reach_both_parts():
    batch = MixedSampler(replay(), model_buffer(), 64, 0.5).sample(2, 0.5, use_model=True)
    assert set(batch.discount[:32]) == {0.25}
    assert set(batch.discount[32:]) == {0.5, 0.25}


def test_imagined_returns_may_run_over_other_steps_than_real_ones():
    batch = MixedSampler(replay(), model_buffer(), 64, 0.5, model_n_step=1).sample(2, 0.5, use_model=True)
    assert set(batch.discount[:32]) == {0.25}
    assert set(batch.discount[32:]) == {0.5}


def test_out_is_filled_again():
    sampler = MixedSampler(replay(), model_buffer(), 8, 0.5)
    out = Batch.empty(8, 4, SHAPE)
    assert sampler.sample(1, 0.9, True, out=out) is out
    assert set(out.obs.reshape(8, -1)[:, 0]) == {REAL, IMAGINED}
    with pytest.raises(ValueError, match="expected out with 8 rows, got 4"):
        sampler.sample(1, 0.9, True, out=out[:4])


def test_a_failed_sample_counts_nothing():
    sampler = MixedSampler(ReplayBuffer(5, 1, frame_shape=SHAPE), model_buffer(), 8, 0.5)
    with pytest.raises(ValueError, match="expected at least one valid transition"):
        sampler.sample(1, 0.9, True)
    assert sampler.state() == {"real_rows": 0, "synthetic_rows": 0}


def test_counters_are_state():
    sampler = MixedSampler(replay(), model_buffer(), 8, 0.25)
    sampler.sample(1, 0.9, True)
    other = MixedSampler(replay(), model_buffer(), 8, 0.25)
    other.restore(sampler.state())
    assert (other.real_rows, other.synthetic_rows) == (2, 6)


@pytest.mark.parametrize(
    "bad",
    [
        {"batch_size": 0},
        {"real_ratio": -0.1},
        {"real_ratio": 1.1},
        {"real_ratio": np.nan},
        {"model_buffer": ModelBuffer(2, frame_shape=(4, 4))},
    ],
)
def test_bad_settings(bad):
    good = {"replay": replay(), "model_buffer": model_buffer(), "batch_size": 8, "real_ratio": 0.5}
    with pytest.raises(ValueError, match=r"\[MixedSampler\] expected .*, got "):
        MixedSampler(**(good | bad))


def prioritized() -> PrioritizedReplayBuffer:
    buffer = PrioritizedReplayBuffer(50, 1, frame_shape=SHAPE, seed=1, alpha=0.5)
    no, yes = np.zeros(1, bool), np.ones(1, bool)
    for slot in range(30):
        frame = np.full((1, *SHAPE), REAL, np.uint8)
        buffer.add(frame, np.zeros(1, int), np.zeros(1), no, no, yes if slot == 0 else no)
    return buffer


def test_priorities_reach_the_real_rows_and_weights_only_them():
    buffer = prioritized()
    sampler = MixedSampler(buffer, model_buffer(), 8, 0.5, beta=1.0)
    batch = sampler.sample(1, 0.9, use_model=True)
    priorities = np.linspace(1, 8, 8).astype(np.float32)
    sampler.update_priorities(batch, priorities)
    newest = dict(zip(batch.ids[:4].tolist(), priorities[:4].tolist(), strict=True))
    for row, stored in enumerate(buffer.priorities(batch.ids[:4]).tolist()):
        assert stored == pytest.approx(newest[int(batch.ids[row])] ** 0.5)
    untouched = np.setdiff1d(buffer.valid_ids(1), batch.ids[:4])
    assert (buffer.priorities(untouched) == 1.0).all()
    batch = sampler.sample(1, 0.9, use_model=True)
    weight = 1 / buffer.priorities(batch.ids[:4])
    assert batch.weight[:4] == pytest.approx(weight / weight.max())
    assert (batch.weight[4:] == 1).all()


def test_priorities_of_a_uniform_replay_are_refused():
    sampler = MixedSampler(replay(), None, 8, 1.0)
    with pytest.raises(ValueError, match="expected a prioritised replay"):
        sampler.update_priorities(sampler.sample(), np.ones(8, np.float32))
