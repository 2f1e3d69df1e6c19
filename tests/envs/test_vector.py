"""The vector environment's contract: autoreset, infos, truncation, copies, exact states, workers."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from mbpo_fast.envs import make_env, make_vec

BREAKOUT = "BreakoutNoFrameskip-v4"


def play(vec, steps, seed=0):
    """Everything that `steps` random steps give, one dict of stacked arrays."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(steps):
        actions = rng.integers(0, vec.single_action_space.n, vec.num_envs)
        obs, reward, terminated, truncated, infos = vec.step(actions)
        row = {"obs": obs, "reward": reward, "terminated": terminated, "truncated": truncated, **infos}
        rows.append({**row, "newest": vec.newest_frames()})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def assert_same(got, want):
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
        assert got[name].dtype == want[name].dtype


@pytest.mark.parametrize(
    ("env_id", "settings", "workers"),
    [
        (BREAKOUT, {}, (1, 2)),
        ("ALE/Breakout-v5", {"autoreset_mode": "SAME_STEP", "padding_type": "zero"}, (2,)),
        ("Catch", {"max_episode_steps": 7, "scale_obs": True}, (1, 2)),
    ],
)
def test_workers_change_no_byte(env_id, settings, workers):
    want = record_of(make_vec(env_id, 3, seed=5, **settings))
    assert (want["terminated"] | want["truncated"]).any()
    for number in workers:
        for caller_plays in (False, True):
            layout = {"workers": number, "caller_plays": caller_plays}
            assert_same(record_of(make_vec(env_id, 3, seed=5, **layout, **settings)), want)


def test_a_caller_that_plays_is_one_of_the_workers():
    for workers, processes in ((0, 0), (1, 0), (2, 1), (3, 2)):
        vec = make_vec("Catch", 3, workers=workers, caller_plays=True)
        assert len(vec.worker_pids) == processes
        vec.close()


def test_states_go_between_a_caller_that_plays_and_one_that_does_not():
    shared, alone = make_vec("Catch", 3, seed=1, workers=2, caller_plays=True), make_vec("Catch", 3, seed=2)
    shared.reset()
    play(shared, 5)
    alone.set_state(shared.get_state())
    assert_same(play(alone, 20), play(shared, 20))
    shared.set_state(alone.get_state())
    assert_same(play(alone, 20), play(shared, 20))
    shared.close()


def record_of(vec):
    first, infos = vec.reset()
    record = {**play(vec, 80), "first": first, "first_lives": infos["lives"]}
    vec.close()
    return record


def test_a_lane_does_not_depend_on_the_others_and_lane_0_is_make_env():
    many, few, one = make_vec("Catch", 5, seed=3), make_vec("Catch", 2, seed=3), make_env("Catch", seed=3)
    for _ in range(4):
        many_obs, few_obs, one_obs = many.reset()[0], few.reset()[0], one.reset()[0]
        np.testing.assert_array_equal(many_obs[:2], few_obs)
        np.testing.assert_array_equal(many_obs[0], one_obs)
    assert len({obs.tobytes() for obs in many_obs}) > 1


def test_noops_depend_on_seed_lane_and_game():
    vec = make_vec("SpaceInvadersNoFrameskip-v4", 4, seed=1, fire_reset=False)
    frames = []
    for seed in (1, None, 2, 1):
        vec.reset(seed=seed)
        frames.append([lane.game._ale.getEpisodeFrameNumber() for lane in vec._group.lanes])
        for lane in vec._group.lanes:
            lane.game.end_game()
    assert frames[0] == frames[3]
    assert frames[0] != frames[1]
    assert frames[0] != frames[2]
    assert len(set(frames[0])) > 1


def test_next_step_autoreset_and_life_loss():
    vec = make_vec(BREAKOUT, 2, seed=0, clip_reward=False)
    assert vec.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    vec.reset()
    record = play(vec, 400)
    ended = record["terminated"] | record["truncated"]
    np.testing.assert_array_equal(record["reset"][1:], ended[:-1])
    assert not record["reset"][0].any()
    resets = record["reset"]
    assert not record["reward"][resets].any()
    assert not ended[resets].any()
    life_losses = record["terminated"] & ~record["game_over"]
    assert life_losses.sum() > record["game_over"].sum() > 0
    assert not record["truncated"].any()
    # A reset shows its first frame four times.
    first = record["obs"][resets]
    assert (first == first[:, :1]).all()
    # A score is the raw return of all lives together, resets included.
    for lane in range(2):
        start = 0
        for end in np.flatnonzero(record["game_over"][:, lane]):
            raw = record["raw_reward"][start : end + 1, lane]
            assert record["game_score"][end, lane] == raw.sum()
            assert record["game_length"][end, lane] == (~record["reset"][start : end + 1, lane]).sum()
            start = end + 1
    assert not record["game_score"][~record["game_over"]].any()


def test_same_step_resets_at_once_and_gives_the_final_observation():
    same = make_vec(BREAKOUT, 1, autoreset_mode="SAME_STEP")
    assert same.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    after = make_vec(BREAKOUT, 1)
    np.testing.assert_array_equal(same.reset()[0], after.reset()[0])
    ends = games = 0
    for action in np.random.default_rng(2).integers(0, 4, (400, 1)):
        obs, *outcome, infos = same.step(action)
        want_obs, *want_outcome, want_infos = after.step(action)
        assert outcome == want_outcome
        assert not infos["reset"][0]
        assert infos["game_score"] == want_infos["game_score"]
        ended = outcome[1][0] or outcome[2][0]
        assert infos["_final_obs"][0] == ended
        if ended:
            ends += 1
            games += int(infos["game_over"][0])
            np.testing.assert_array_equal(infos["final_obs"], want_obs)
            want_obs = after.step(action)[0]
        np.testing.assert_array_equal(obs, want_obs)
    assert ends > games >= 1


def test_the_step_limit_truncates_the_whole_game():
    vec = make_vec("Catch", 2, max_episode_steps=7)
    vec.reset()
    record = play(vec, 24)
    assert not record["terminated"].any()
    np.testing.assert_array_equal(np.flatnonzero(record["truncated"][:, 0]), [6, 14, 22])
    np.testing.assert_array_equal(record["game_over"], record["truncated"])
    assert set(record["game_length"][record["game_over"]]) == {7}

    vec = make_vec(BREAKOUT, 1, max_episode_steps=100)
    vec.reset()
    record = play(vec, 150)
    end = int(np.flatnonzero(record["truncated"])[0])
    assert record["game_over"][end, 0]
    assert record["game_length"][end, 0] == 100 == (~record["reset"][: end + 1]).sum()
    assert record["reset"][end + 1, 0]
    assert record["lives"][end + 1, 0] == 5, "a truncated game is over: the next reset begins a new one"


def test_a_game_lost_within_a_reset_is_reported_on_the_reset_row(monkeypatch):
    vec = make_vec(BREAKOUT, 1, seed=0)
    vec.reset()
    game = vec._group.lanes[0].game
    actions = iter(np.random.default_rng(0).integers(0, 4, 1000))
    for action in actions:
        infos = vec.step([action])[4]
        if infos["lives"][0] == 4:
            break
    game.score = 12.0
    # The no-op that goes on after the lost life loses the game, as in games with a countdown.
    over = iter([True, True])
    monkeypatch.setattr(game, "_ale", LosesAtOnce(game._ale, over))
    _, reward, terminated, truncated, infos = vec.step([0])
    assert infos["reset"][0]
    assert infos["game_over"][0]
    assert infos["game_score"][0] == 12.0
    assert infos["game_length"][0] > 0
    assert infos["lives"][0] == 5
    assert [reward[0], terminated[0], truncated[0]] == [0, False, False]


class LosesAtOnce:
    """An emulator whose first answers to game_over() are scripted."""

    def __init__(self, ale, answers):
        self._ale = ale
        self._answers = answers

    def __getattr__(self, name):
        return getattr(self._ale, name)

    def game_over(self, **kwargs):
        return next(self._answers, False) or self._ale.game_over(**kwargs)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_leaves_the_environment_is_a_copy(workers):
    vec = make_vec("Catch", 2, workers=workers)
    held = [*vec.reset()[:1], vec.newest_frames(), *vec.step([0, 2])[:4]]
    state = vec.get_state()
    infos = vec.step([0, 2])[4]
    before = [array.copy() for array in (*held, *state.values(), *infos.values())]
    for _ in range(30):
        vec.step([0, 2])
    for array, kept in zip((*held, *state.values(), *infos.values()), before, strict=True):
        np.testing.assert_array_equal(array, kept)
    vec.close()


@pytest.mark.parametrize(
    ("env_id", "settings", "workers"),
    [
        (BREAKOUT, {}, (0, 2)),
        ("ALE/Breakout-v5", {}, (1, 0)),
        ("Catch", {"autoreset_mode": "SAME_STEP"}, (1, 2)),
    ],
)
def test_a_restored_environment_goes_on_with_the_same_bytes(env_id, settings, workers):
    vec = make_vec(env_id, 2, seed=9, workers=workers[0], **settings)
    vec.reset()
    play(vec, 77)
    state = vec.get_state()
    newest = vec.newest_frames()
    want = play(vec, 200, seed=1)
    vec.close()
    assert want["game_over"].any()
    assert all(isinstance(value, np.ndarray) and value.dtype != object for value in state.values())

    vec = make_vec(env_id, 2, seed=0, workers=workers[1], **settings)
    vec.set_state({name: value.copy() for name, value in state.items()})
    np.testing.assert_array_equal(vec.newest_frames(), newest)
    assert_same(play(vec, 200, seed=1), want)
    vec.close()


def test_a_state_of_the_last_step_before_a_reset_owes_the_reset():
    vec = make_vec("Catch", 1)
    vec.reset()
    for _ in range(11):
        terminated = vec.step([1])[2]
    assert terminated[0]
    other = make_vec("Catch", 1)
    other.set_state(vec.get_state())
    assert other.step([1])[4]["reset"][0]


def test_a_wrong_state_is_refused():
    vec = make_vec("Catch", 2)
    state = vec.get_state()
    with pytest.raises(
        ValueError, match=r"\[set_state\] expected the arrays of these lanes, got other names"
    ):
        make_vec("Catch", 3).set_state(state)
    with pytest.raises(ValueError, match=r"\[set_state\] expected lane0.stack as uint8 \(4, 48, 48\), got"):
        make_vec("Catch", 2, screen_size=48).set_state(state)
    with pytest.raises(ValueError, match=r"lane1\.stack as uint8"):
        vec.set_state({**state, "lane1.stack": state["lane1.stack"].astype(np.int64)})


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0], r"\[step\] expected actions of shape \(2,\), got \(1,\)"),
        ([[0, 1]], r"expected actions of shape \(2,\), got \(1, 2\)"),
        ([0.0, 1.0], r"\[step\] expected actions of an integer type, got float64"),
        ([0, 3], r"\[step\] expected actions in 0..2, got \[0, 3\]"),
        ([-1, 0], r"\[step\] expected actions in 0..2, got \[-1, 0\]"),
    ],
)
def test_bad_actions_are_refused(actions, message):
    vec = make_vec("Catch", 2)
    with pytest.raises(RuntimeError, match=r"\[step\] expected reset\(\) or set_state\(\) first"):
        vec.step([0, 0])
    vec.reset()
    with pytest.raises(ValueError, match=message):
        vec.step(np.array(actions))


def test_newest_frames_into_a_buffer():
    vec = make_vec("Catch", 3)
    obs = vec.reset()[0]
    out = np.zeros((3, 36, 36), np.uint8)
    assert vec.newest_frames(out) is out
    np.testing.assert_array_equal(out, obs[:, -1])
    with pytest.raises(ValueError, match=r"\[newest_frames\] expected out u8 \(3, 36, 36\), got"):
        vec.newest_frames(np.zeros((3, 36, 36), np.float32))


def test_spaces_and_names():
    vec = make_vec("SpaceInvadersNoFrameskip-v4", 2)
    assert vec.single_observation_space.shape == (4, 84, 84)
    assert vec.observation_space.shape == (2, 4, 84, 84)
    assert vec.single_action_space.n == 6
    assert vec.action_meanings == ("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE")
    assert vec.frame_skip == 4
    assert vec.reset()[0] in vec.observation_space
    assert len(make_vec(BREAKOUT, 1, full_action_space=True).action_meanings) == 18
