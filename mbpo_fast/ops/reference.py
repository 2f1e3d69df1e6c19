"""Slow, readable definitions of what the compiled core computes: the tests hold it to them.

The rings are plain Python models that never forget; what is too old is excluded by a rule instead.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
Words = tuple[int, int, int, int]
_MASK = 0xFFFFFFFF


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3")."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & _MASK, (a >> 32) ^ c3 ^ k1, a & _MASK
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return c0, c1, c2, c3


def words(seed: int, stream: int, step: int, lane: int) -> Words:
    """The four words of one (seed, stream, step, lane)."""
    return philox((lane, step & _MASK, step >> 32, stream), (seed & _MASK, seed >> 32))


def uniform(word: int) -> float:
    """A number in [0, 1) from one word."""
    return (word >> 8) * 2.0**-24


def integer(high_word: int, low_word: int, high: int) -> int:
    """A number in [0, high) from two words."""
    return (((high_word << 32) | low_word) * high) >> 64


def draw(key: tuple[int, int, int], batch: int, members: int, accept: Callable[[int], bool]) -> list[int]:
    """Uniform draws among the accepted of range(members), by rejection; key is (seed, stream, step)."""
    accepted = [member for member in range(members) if accept(member)]
    if not accepted:
        raise ValueError("[draw] expected at least one valid transition, got none")

    def one(row: int) -> int:
        for block in range(128):
            word = words(*key, row + block * batch)
            for first in (0, 2):
                member = integer(word[first], word[first + 1], members)
                if accept(member):
                    return member
        word = words(*key, row + 128 * batch)
        return accepted[integer(word[0], word[1], len(accepted))]

    return [one(row) for row in range(batch)]


def area_taps(source: int, size: int) -> list[tuple[int, int, np.float32]]:
    """(destination, source, weight) of an area resize: float64 arithmetic, weights rounded to float32.

    The rule is that of OpenCV's INTER_AREA (modules/imgproc/src/resize.cpp): overlaps up to 1e-3 are dropped.
    """
    scale = 1.0 / (size / source)
    taps = []
    for d in range(size):
        begin, end = d * scale, d * scale + scale
        cell = min(scale, source - begin)
        last = min(math.floor(end), source - 1)
        whole = min(math.ceil(begin), last)
        if whole - begin > 1e-3:
            taps.append((d, whole - 1, np.float32((whole - begin) / cell)))
        taps += [(d, s, np.float32(1.0 / cell)) for s in range(whole, last)]
        if end - last > 1e-3:
            taps.append((d, last, np.float32(min(end - last, 1.0, cell) / cell)))
    return taps


def preprocess(frames: Frame, size: tuple[int, int] = (84, 84)) -> Frame:
    """[N, 2, H, W] -> [N, *size]: maximum of the two, columns then rows in float32, halves to even."""
    screens = frames.max(axis=1)
    count, height, width = screens.shape
    lines = np.zeros((count, height, size[1]), np.float32)
    for d, s, weight in area_taps(width, size[1]):
        lines[:, :, d] += screens[:, :, s].astype(np.float32) * weight
    out = np.zeros((count, *size), np.float32)
    for d, s, weight in area_taps(height, size[0]):
        out[:, d] += lines[:, s] * weight
    return np.rint(out).clip(0, 255).astype(np.uint8)


def movement_cells(context: Frame, newest: int, cell: int) -> npt.NDArray[np.float32]:
    """[B, C, h, w] -> [B, h / cell, w / cell, newest * cell**2]: cells of differences and of the newest."""
    frames = context[:, -newest:].astype(np.float32)
    moved = np.concatenate([frames[:, 1:] - frames[:, :-1], frames[:, -1:]], axis=1)
    batch, _, height, width = moved.shape
    cells = moved.reshape(batch, newest, height // cell, cell, width // cell, cell)
    return cells.transpose(0, 2, 4, 1, 3, 5).reshape(batch, height // cell, width // cell, -1)


def mean_steps(context: Frame, cell: int) -> npt.NDArray[np.float64]:
    """[B, C, h, w] -> [B, h / cell, w / cell, C - 1]: steps of the cells' means from frame to frame."""
    batch, count, height, width = context.shape
    cells = context.reshape(batch, count, height // cell, cell, width // cell, cell)
    means: npt.NDArray[np.float64] = cells.mean(axis=(3, 5))
    return (means[:, 1:] - means[:, :-1]).transpose(0, 2, 3, 1)


@dataclass(frozen=True)
class Row:
    """One gathered transition; the fields are those of `mbpo_fast.data.Batch`."""

    obs: Frame
    next_obs: Frame
    action: int
    reward: np.float32
    discount: np.float32
    terminated: bool


def n_step_return(rewards: list[np.float32], gamma: float) -> tuple[np.float32, np.float32]:
    """(sum of gamma**j * reward j, gamma**k), in float64, rounded at the end."""
    total, weight = 0.0, 1.0
    for reward in rewards:
        total += weight * float(reward)
        weight *= gamma
    return np.float32(total), np.float32(weight)


@dataclass(frozen=True)
class Slot:
    """A frame, and the step that led into it unless it is an episode's first."""

    frame: Frame
    action: int
    reward: np.float32
    terminated: bool
    truncated: bool
    first: bool
    split: int


@dataclass
class FrameRing:
    """`num_envs` lanes of slots; the newest `capacity` of each lane count as stored."""

    num_envs: int
    capacity: int
    slots: list[list[Slot]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Adds so far."""
        return len(self.slots)

    @property
    def oldest(self) -> int:
        """The oldest stored slot."""
        return max(0, self.total - self.capacity)

    def add(self, rows: list[Slot]) -> None:
        """One slot of every lane."""
        self.slots.append(rows)

    def episode_begin(self, lane: int, slot: int) -> int:
        """The slot of the first frame of the episode that a slot belongs to."""
        return max(g for g in range(slot + 1) if self.slots[g][lane].first)

    def is_valid(self, transition: int, n_step: int, context: int, split: int = -1) -> bool:
        """The transition and the n - 1 slots after it are stored, and so is its whole stack."""
        slot, lane = divmod(transition, self.num_envs)
        if not 0 <= slot < self.total - n_step or self.slots[slot + 1][lane].first:
            return False
        needed = max(slot - context + 1, self.episode_begin(lane, slot))
        return needed >= self.oldest and split in (-1, self.slots[slot][lane].split)

    def valid_ids(self, n_step: int, context: int, split: int = -1) -> list[int]:
        """Every valid transition, ascending."""
        ids = range(self.total * self.num_envs)
        return [i for i in ids if self.is_valid(i, n_step, context, split)]

    def sample_ids(
        self, batch: int, n_step: int, context: int, key: tuple[int, int, int], split: int = -1
    ) -> list[int]:
        """Uniform over the valid transitions."""
        base = self.oldest * self.num_envs
        members = (self.total - self.oldest - n_step) * self.num_envs
        valid = set(self.valid_ids(n_step, context, split))
        return [base + m for m in draw(key, batch, members, lambda m: base + m in valid)]

    def stack(self, lane: int, slot: int, context: int, padding: str) -> Frame:
        """The newest `context` frames of the episode up to a slot, padded before its first."""
        begin = self.episode_begin(lane, slot)
        first = self.slots[begin][lane].frame
        filler = first if padding == "reset" else np.zeros_like(first)
        window = range(slot - context + 1, slot + 1)
        return np.stack([self.slots[g][lane].frame if g >= begin else filler for g in window])

    def gather(self, transition: int, n_step: int, gamma: float, context: int, padding: str) -> Row:
        """The n-step transition, shorter where the episode ends before."""
        slot, lane = divmod(transition, self.num_envs)
        steps: list[Slot] = []
        for g in range(slot + 1, slot + n_step + 1):
            step = self.slots[g][lane]
            if step.first:  # cut without a flag: nothing more belongs to the episode
                break
            steps.append(step)
            if step.terminated or step.truncated:
                break
        reward, discount = n_step_return([step.reward for step in steps], gamma)
        terminated = steps[-1].terminated
        return Row(
            self.stack(lane, slot, context, padding),
            self.stack(lane, slot + len(steps), context, padding),
            steps[0].action,
            reward,
            np.float32(0) if terminated else discount,
            terminated,
        )


@dataclass
class Branch:
    """C real frames, then one more frame for each of the steps (action, reward, terminated, member)."""

    frames: list[Frame]
    steps: list[tuple[int, np.float32, bool, int]] = field(default_factory=list)


@dataclass
class BranchRing:
    """Branches in the order of their beginning; the newest `capacity` count as stored."""

    capacity: int
    context: int
    horizon: int
    branches: list[Branch] = field(default_factory=list)

    @property
    def oldest(self) -> int:
        """The oldest stored branch."""
        return max(0, len(self.branches) - self.capacity)

    def begin(self, start: Frame) -> int:
        """A new branch from [C, h, w]; its id."""
        self.branches.append(Branch(list(start)))
        return len(self.branches) - 1

    def append(self, branch: int, frame: Frame, step: tuple[int, np.float32, bool, int]) -> None:
        """One step of a branch."""
        self.branches[branch].frames.append(frame)
        self.branches[branch].steps.append(step)

    def ids(self) -> list[int]:
        """Every stored transition, ascending."""
        stored = range(self.oldest, len(self.branches))
        return [b * self.horizon + t for b in stored for t in range(len(self.branches[b].steps))]

    def sample_ids(self, batch: int, key: tuple[int, int, int]) -> list[int]:
        """Uniform over the stored transitions."""
        base, stored = self.oldest * self.horizon, set(self.ids())
        members = (len(self.branches) - self.oldest) * self.horizon
        return [base + m for m in draw(key, batch, members, lambda m: base + m in stored)]

    def latest(self, branch: int, context: int) -> Frame:
        """The newest frames of a branch."""
        return np.stack(self.branches[branch].frames[-context:])

    def gather(self, transition: int, n_step: int, gamma: float, context: int) -> Row:
        """The n-step transition, shorter where the branch ends before."""
        number, t = divmod(transition, self.horizon)
        branch = self.branches[number]
        steps = branch.steps[t : t + n_step]
        end = self.context + t
        reward, discount = n_step_return([reward for _, reward, _, _ in steps], gamma)
        terminated = steps[-1][2]
        return Row(
            np.stack(branch.frames[end - context : end]),
            np.stack(branch.frames[end + len(steps) - context : end + len(steps)]),
            steps[0][0],
            reward,
            np.float32(0) if terminated else discount,
            terminated,
        )


def shift_frames(
    frames: npt.NDArray[np.uint8], down: npt.NDArray[np.int64], right: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    """`mbpo_fast.ops.shift_frames`, row by row."""
    height, width = frames.shape[2:]
    out = np.empty_like(frames)
    for stack, below, beside, to in zip(frames, down, right, out, strict=True):
        rows = np.clip(np.arange(height) - np.clip(below, -height, height), 0, height - 1)
        columns = np.clip(np.arange(width) - np.clip(beside, -width, width), 0, width - 1)
        to[:] = stack[:, rows][:, :, columns]
    return out
