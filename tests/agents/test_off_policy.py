"""What off-policy learners share: shifts of a batch, random actions, moves of a target network."""

import numpy as np
import torch

from mbpo_fast.agents.acting import mixed_with_random
from mbpo_fast.agents.off_policy import augmented_stacks, move_target
from mbpo_fast.data import Batch
from mbpo_fast.ops import Stream

CPU = torch.device("cpu")


def batch(rows: int = 40) -> Batch:
    """Stacks whose pixel (y, x) of every frame is 10 y + x of a 12x12 screen, plus the frame's number."""
    out = Batch.empty(rows, 4, (12, 12))
    screen = 10 * np.arange(12)[:, None] + np.arange(12)
    out.obs[:] = (screen + np.arange(4)[:, None, None])[None]
    out.next_obs[:] = out.obs
    return out


def offsets(stack: torch.Tensor) -> tuple[int, int]:
    """How far down and right a stack of `batch` was moved, from the middle of its first frame."""
    value = 66 - int(stack[0, 6, 6])
    right = (value + 5) % 10 - 5
    return (value - right) // 10, right


def test_without_padding_nothing_moves() -> None:
    rows = batch()
    obs, next_obs = augmented_stacks((rows.obs, rows.next_obs), 0, seed=1, step=2, device=CPU)
    assert np.array_equal(obs.numpy(), rows.obs)
    assert np.array_equal(next_obs.numpy(), rows.next_obs)


def test_each_stack_moves_as_one_by_offsets_of_its_own() -> None:
    rows = batch()
    moved = augmented_stacks((rows.obs, rows.next_obs), 2, seed=1, step=2, device=CPU)
    drawn = [offsets(stack) for stacks in moved for stack in stacks]
    assert {down for down, _ in drawn} == {right for _, right in drawn} == {-2, -1, 0, 1, 2}
    for stack, (down, right) in zip(torch.cat(moved), drawn, strict=True):
        y, x = (np.clip(np.arange(12) - shift, 0, 11) for shift in (down, right))
        assert np.array_equal(stack.numpy(), rows.obs[0][:, y[:, None], x])
    half = len(rows)
    assert drawn[:half] != drawn[half:], "obs and next_obs move apart"
    assert len(set(drawn)) > 15, "down and right are drawn apart"


def test_shifts_follow_seed_and_step_alone() -> None:
    def moved(seed: int, step: int) -> torch.Tensor:
        return torch.cat(
            augmented_stacks((batch().obs, batch().next_obs), 2, seed=seed, step=step, device=CPU)
        )

    assert torch.equal(moved(1, 2), moved(1, 2))
    assert not torch.equal(moved(1, 2), moved(2, 2))
    assert not torch.equal(moved(1, 2), moved(1, 3))


def test_a_share_of_the_actions_becomes_uniform() -> None:
    action = np.full(20_000, 3)
    mixed = mixed_with_random(action, 4, 0.4, seed=7, stream=Stream.EXPLORE, step=5)
    share = np.bincount(mixed, minlength=4) / len(mixed)
    assert np.abs(share - [0.1, 0.1, 0.1, 0.7]).max() < 0.015  # 4.5 standard deviations
    assert (mixed_with_random(action, 4, 0.0, seed=7, stream=Stream.EXPLORE, step=5) == 3).all()


def test_a_target_moves_by_its_share() -> None:
    target, online = [torch.tensor([1.0, 2.0])], [torch.tensor([3.0, -2.0])]
    move_target(target, online, 0.25)
    assert target[0].tolist() == [1.5, 1.0]
    move_target(target, online, 1.0)
    assert torch.equal(target[0], online[0])
