"""Gates fire as often as they should, however long an iteration is."""

import pytest

from mbpo_fast.training.schedules import Every, Ratio, longest_rollout, rollout_length


@pytest.mark.parametrize("stride", [1, 3, 4, 7])
def test_every_fires_once_per_period(stride: int) -> None:
    gate = Every(10)
    fired = [after for after in range(stride, 200, stride) if gate(after - stride, after)]
    assert [step // 10 for step in fired] == list(range(1, fired[-1] // 10 + 1))
    assert all(step % 10 < stride for step in fired)


def test_every_zero_never_fires() -> None:
    assert not any(Every(0)(step, step + 1) for step in range(100))


@pytest.mark.parametrize("per_step", [0.25, 1.0, 1.5, 4.0])
@pytest.mark.parametrize("stride", [1, 4])
def test_ratio_adds_up(per_step: float, stride: int) -> None:
    ratio = Ratio(per_step, start=20)
    due = [ratio(step, step + stride) for step in range(0, 400, stride)]
    assert sum(due) == int(380 * per_step)
    assert not any(due[: 20 // stride])
    steady = due[20 // stride + 1 :]
    assert max(steady) - min(steady) <= 1


def test_rollout_length_follows_the_papers_schedule() -> None:
    # Hopper's [20, 150, 1, 15], in epochs of 1000 steps.
    lengths = {
        epoch: rollout_length(epoch * 1000, 1, (20, 150, 1, 15), 1000) for epoch in (0, 20, 85, 149, 150, 400)
    }
    assert lengths == {0: 1, 20: 1, 85: 8, 149: 14, 150: 15, 400: 15}
    # The 29th epoch asks for 1.97 steps, half an epoch later it would be 2.02: epochs are whole.
    assert rollout_length(29_500, 1, (20, 150, 1, 15), 1000) == 1
    assert rollout_length(-500, 1, (0, 1, 2, 3), 1000) == 2
    assert rollout_length(10**9, 3, None, 1000) == 3
    assert longest_rollout(3, None) == 3
    assert longest_rollout(3, (0, 1, 1, 7)) == 7
    assert rollout_length(500, 1, (2, 2, 1, 5), 1000) == 1
    assert rollout_length(3000, 1, (2, 2, 1, 5), 1000) == 5
