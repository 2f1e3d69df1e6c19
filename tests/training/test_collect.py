"""The collector: scores, lengths and steps are those of the environments, and every column is stored."""

from typing import Any

import numpy as np
import pytest

from mbpo_fast.data import ReplayBuffer
from mbpo_fast.envs import make_vec
from mbpo_fast.training.collect import Collector


@pytest.mark.parametrize("limit", [None, 5])
def test_what_the_environments_said_is_kept(limit: int | None) -> None:
    settings = {} if limit is None else {"max_episode_steps": limit}
    env = make_vec("Catch", 3, seed=1, **settings)
    replay = ReplayBuffer(1000, 3, frame_shape=env.stack_shape[1:])
    collector = Collector(env, replay, window=4)
    collector.start(1)
    wait, said = env.step_wait, []

    def spy() -> Any:
        said.append(wait())
        return said[-1]

    env.step_wait = spy  # type: ignore[method-assign]
    rng = np.random.default_rng(0)
    actions = rng.integers(0, 3, (60, 3))
    for action in actions:
        collector.step(action)
    scores, lengths, running, age = [], [], np.zeros(3), np.zeros(3, int)
    for _, reward, terminated, truncated, infos in said:
        running, age = running + reward, age + ~infos["reset"]
        for lane in np.flatnonzero(terminated | truncated):
            scores.append(running[lane])
            lengths.append(age[lane])
            running[lane], age[lane] = 0.0, 0
    assert len(set(scores)) > (limit is None)
    assert collector.games == len(scores)
    assert list(collector.scores) == scores[-4:], "the newest games of the window"
    assert list(collector.lengths) == lengths[-4:]
    assert collector.env_steps == sum(int((~infos["reset"]).sum()) for *_, infos in said)
    stored = replay.export(1, replay.total)
    for name, place in (("reward", 1), ("terminated", 2), ("truncated", 3)):
        assert np.array_equal(stored[name], np.stack([row[place] for row in said])), name
    assert stored["truncated"].any() == (limit is not None)
    assert np.array_equal(stored["first"], np.stack([infos["reset"] for *_, infos in said]))
    assert np.array_equal(stored["frame"], np.stack([obs[:, -1] for obs, *_ in said]))
    assert np.array_equal(stored["action"][~stored["first"]], actions[~stored["first"]])
    env.close()
