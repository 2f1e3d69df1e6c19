"""The facts that `verify_env` lists, and the pictures beside them."""

import cv2
import numpy as np
import pytest

from mbpo_fast.envs import Check, EnvSettings, make_env, stack_pngs, verify, verify_env


def test_space_invaders_is_as_written_down():
    rows = {row.what: row for row in verify_env("SpaceInvadersNoFrameskip-v4")}
    assert all(row.ok for row in rows.values())
    assert rows["observation shape"] == Check("observation shape", "(4, 84, 84)", "(4, 84, 84)", True)
    assert rows["action space"].value == "Discrete(6)"
    assert rows["actions"].value == "NOOP, FIRE, RIGHT, LEFT, RIGHTFIRE, LEFTFIRE"
    assert rows["frame skip"].value == "4"
    assert rows["sticky action probability"].value == "0.0"
    assert rows["lives"].value == "3"


@pytest.mark.parametrize("env_id", ["ALE/SpaceInvaders-v5", "BreakoutNoFrameskip-v4", "Catch"])
def test_other_environments(env_id):
    settings = EnvSettings(scale_obs=True, frame_skip=2, full_action_space=True)
    assert all(row.ok for row in verify_env(env_id))
    assert all(row.ok for row in verify_env(env_id, settings))


def test_a_difference_shows(monkeypatch):
    wrong = verify._SPACE_INVADERS._replace(lives=4, action_meanings=("NOOP",))
    monkeypatch.setattr(verify, "_SPACE_INVADERS", wrong)
    bad = {row.what for row in verify_env("SpaceInvadersNoFrameskip-v4") if not row.ok}
    assert bad == {"action space", "actions", "lives"}


def test_pngs_hold_the_frames():
    obs, _ = make_env("SpaceInvadersNoFrameskip-v4").reset()
    pictures = stack_pngs(obs)
    assert len(pictures) == 4
    for frame, picture in zip(obs, pictures, strict=True):
        decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(decoded, frame)
    with pytest.raises(ValueError, match=r"\[stack_pngs\] expected obs u8 \[S, h, w\], got float64 \(2, 3\)"):
        stack_pngs(np.zeros((2, 3)))
