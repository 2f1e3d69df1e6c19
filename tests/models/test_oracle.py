"""The oracle behind the model's contract: rows, order, ends, lazy moments, exactness, saved states."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mbpo_fast.data import ModelBuffer
from mbpo_fast.data.state_store import StateStore
from mbpo_fast.models import RolloutEngine
from mbpo_fast.models.oracle import CHECKED, Oracle, OracleRounds
from mbpo_fast.ops import Stream

LANES, SIDE, CONTEXT, ACTIONS = 3, 36, 4, 4


class Counter:
    """A game that is one number: the action is added; reward at multiples of 3; it ends from 40 on."""

    def __init__(self) -> None:
        self.asked = 0

    def start(self, states: Any, lane: int) -> int:
        return int(states[f"lane{lane}.x"][0])

    def step(self, moment: int, action: int, newest: np.ndarray) -> tuple[np.ndarray, float, bool]:
        assert int(newest[0, 0]) == moment, "the newest frame is that of the moment"
        self.x = moment + action
        return np.full((SIDE, SIDE), self.x, np.uint8), float(self.x % 3 == 0), self.x >= 40

    def moment(self) -> int:
        self.asked += 1
        return self.x


def oracle(slots: int = 10, every: int = 2) -> Oracle:
    store = StateStore(every)
    for slot in range(0, slots, every):
        values = {f"lane{lane}.x": np.array([10 * lane + slot]) for lane in range(LANES)}
        store.put(slot, values, oldest=0)
    return Oracle(Counter(), store, num_envs=LANES)


def stacks(newest: list[int]) -> np.ndarray:
    frames = np.zeros((len(newest), CONTEXT, SIDE, SIDE), np.uint8)
    frames[:, -1] = np.array(newest, np.uint8)[:, None, None]
    return frames


def test_only_ids_with_a_state_start_branches() -> None:
    ids = np.arange(30)
    assert oracle().with_state(ids).tolist() == [i for i in range(30) if (i // LANES) % 2 == 0]


def test_branches_of_a_rollout_are_the_games_own() -> None:
    model = oracle()
    ids = np.array([26, 0, 7, 26])  # (slot, lane): (8, 2), (0, 0), (2, 1), (8, 2)
    begins = [28, 0, 12, 28]

    class Policy:
        def act(self, obs: Any, epsilon: float, *, seed: int, stream: Stream, step: int) -> Any:
            return 1 + obs[:, -1, 0, 0].astype(np.int64) % 5

    buffer = ModelBuffer(8, context=CONTEXT, horizon=6, frame_shape=(SIDE, SIDE), seed=0)
    model.begin(ids, 6)
    written = RolloutEngine(seed=0).run(stacks(begins), Policy(), model, buffer, horizon=6, epsilon=0.0)
    branches = buffer.export(0, 4)
    expected = 0
    for row, x in enumerate(begins):
        length = 0
        while length < 6:
            x += 1 + x % 5
            assert (branches["frame"][row, CONTEXT + length] == x).all()
            assert branches["reward"][row, length] == (x % 3 == 0)
            assert branches["terminated"][row, length] == (x >= 40)
            length += 1
            if x >= 40:
                break
        assert branches["length"][row] == length
        expected += length
    assert written == expected
    assert branches["length"].min() < 6, "some branch has ended before"


def test_no_moment_is_saved_after_the_last_step() -> None:
    model = oracle()
    model.begin(np.array([0, 1]), 2)
    action = torch.tensor([1, 2])
    frames, _, _ = model.step(torch.tensor(stacks([0, 10])), action, torch.zeros(2, dtype=torch.int64))
    emulator: Any = model._emulator
    assert emulator.asked == 2
    model.step(torch.tensor(stacks(frames[:, 0, 0].tolist())), action, torch.zeros(2, dtype=torch.int64))
    assert emulator.asked == 2


def test_other_rows_than_it_began_are_refused() -> None:
    model = oracle()
    model.begin(np.array([0, 1]), 1)
    with pytest.raises(ValueError, match="expected 2 rows, got 1"):
        model.step(
            torch.tensor(stacks([0])), torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        )
    with pytest.raises(KeyError):
        model.begin(np.array([3]), 1)


class Replay:
    """Transitions of the counter from every slot and lane; those of `wrong` lead elsewhere."""

    def __init__(self, slots: int, wrong: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.slots, self.wrong, self.asked = slots, wrong, np.zeros(0, int)

    def valid_ids(self, n_step: int = 1, *, context: int = 4) -> np.ndarray:
        return np.arange(self.slots * LANES)

    def gather(self, ids: np.ndarray, n_step: int = 1, *, context: int = 4) -> Any:
        self.asked = ids
        x = 10 * (ids % LANES) + ids // LANES
        action = ids % ACTIONS
        off = np.isin(ids, list(self.wrong))
        return SimpleNamespace(
            obs=stacks(x.tolist()),
            next_obs=stacks((x + action + off).tolist()),
            action=action,
            reward=((x + action) % 3 == 0).astype(np.float32),
            terminated=x + action >= 40,
        )


def test_exactness_is_the_share_of_steps_that_come_out_the_same() -> None:
    model = oracle()
    assert model.exactness(Replay(10)) == 1.0
    assert model.exactness(Replay(10, wrong={0, 13, 3})) == 1 - 2 / 15, "no state was kept at id 3"
    many = oracle(slots=200, every=1)
    replay = Replay(20)
    many.exactness(replay)
    assert len(replay.asked) == 60
    replay = Replay(200)
    many.exactness(replay)
    assert len(replay.asked) == CHECKED


def test_a_round_counts_and_reports() -> None:
    rounds = OracleRounds(oracle())
    assert rounds.fit(Replay(10)) == {"oracle_exact": 1.0}
    assert rounds.fit(Replay(10)) == {"oracle_exact": 1.0}
    again = OracleRounds(oracle())
    again.load_state_dict(rounds.state_dict())
    assert again.rounds == 2


def test_saved_states_come_back() -> None:
    model, other = oracle(), Oracle(Counter(), StateStore(2), num_envs=LANES)
    other.load_state_dict(model.state_dict())
    assert other.states.slots().tolist() == [0, 2, 4, 6, 8]
    for slot in (0, 4, 8):
        a, b = model.states.get(slot), other.states.get(slot)
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name], b[name]) for name in a)
    empty = Oracle(Counter(), StateStore(2), num_envs=LANES)
    other.load_state_dict(empty.state_dict())
    assert len(other.states.slots()) == 0
