"""Replay memory of real transitions."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mbpo_fast import _core
from mbpo_fast.data import disk
from mbpo_fast.data.arguments import column, copy_threads, split_code
from mbpo_fast.data.batch import Batch, Frames, empty_frames, room_for
from mbpo_fast.data.device_rings import DeviceFrameRing
from mbpo_fast.ops.gpu_device import Device
from mbpo_fast.ops.random import Stream, random_uniform


class ReplayBuffer:
    """N environments in lock-step, every frame stored once; n and the context are arguments of the call.

    One row a step and environment holds a frame and the transition that led INTO it. A row with `first`
    carries an episode's first frame alone. That is Gymnasium's NEXT_STEP autoreset as it comes: `reset()` is
    an add with `first` everywhere, each `step()` is one add, and a row that only carries a reset has `first`.
    So an episode's true final frame is kept, and a truncated step bootstraps from it.

    A transition's id is (slot of its start frame) * num_envs + lane: ids ascend in time and last for life.
    The core locks, so one thread may read while another one adds; not so with frames on a device.
    """

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        *,
        frame_shape: tuple[int, int] = (84, 84),
        seed: int = 0,
        holdout_ratio: float = 0.0,
        padding_type: Literal["reset", "zero"] = "reset",
        memory_map: str | Path = "",
        num_threads: int | None = None,
        device: Device | None = None,
    ) -> None:
        """Room for `capacity` transitions over all lanes.

        Args:
            capacity: transitions over all environments.
            num_envs: environments, stepped together.
            frame_shape: height and width of a frame.
            seed: of the sampling and of the split; in [0, 2**64).
            holdout_ratio: share of the episodes that are held out, drawn when an episode starts.
            padding_type: frames before an episode's first are copies of it ("reset") or zeros ("zero").
            memory_map: a folder for a file that holds the frames, so that they may be more than fit into
                memory; "": memory. The file has no name and goes with the process: `save` is for keeping.
            num_threads: threads that copy a batch of 32 rows or more, the caller among them; None: as many as
                this process has cores, four at most.
            device: a GPU that keeps the frames, and that batches get theirs on; only `export` and `save` copy
                them to the host.

        """
        if capacity < 1 or num_envs < 1:
            raise ValueError(
                f"[ReplayBuffer] expected capacity and num_envs >= 1, got {capacity} and {num_envs}"
            )
        if not 0.0 <= holdout_ratio <= 1.0:
            raise ValueError(f"[ReplayBuffer] expected 0 <= holdout_ratio <= 1, got {holdout_ratio}")
        if padding_type not in ("reset", "zero"):
            raise ValueError(f"[ReplayBuffer] expected padding_type 'reset' or 'zero', got {padding_type!r}")
        self.num_envs, self.frame_shape, self.seed = num_envs, frame_shape, seed
        self.holdout_ratio, self.padding_type = holdout_ratio, padding_type
        self.draws = 0
        slots = -(-capacity // num_envs) + 1
        self.device = device
        self._ring = (
            _core.FrameRing(num_envs, slots, *frame_shape, str(memory_map), copy_threads(num_threads))
            if device is None
            else DeviceFrameRing(device, num_envs, slots, *frame_shape)
        )
        self._split = np.zeros(num_envs, np.uint8)
        random_uniform(seed, Stream.HOLDOUT, 0, 0)

    def __len__(self) -> int:
        """Stored transitions."""
        return self._ring.num_transitions

    @property
    def slots(self) -> int:
        """Slots of each lane: its share of the capacity, and one for the newest frame."""
        return self._ring.capacity

    @property
    def total(self) -> int:
        """Adds so far: the newest slot is total - 1."""
        return self._ring.total

    @property
    def oldest(self) -> int:
        """The oldest slot that is still stored."""
        return self._ring.total - self._ring.size

    @property
    def nbytes(self) -> int:
        """Bytes of memory at full size."""
        return self._ring.nbytes

    def add(
        self,
        frame: npt.ArrayLike,
        action: npt.ArrayLike,
        reward: npt.ArrayLike,
        terminated: npt.ArrayLike,
        truncated: npt.ArrayLike,
        first: npt.ArrayLike,
    ) -> None:
        """Stores one row of every environment.

        Args:
            frame: uint8 [N, H, W], the frame that the step led to.
            action: integers [N], the action that led to it; ignored where `first`.
            reward: numbers [N], the step's reward; ignored where `first`.
            terminated: bool [N], the frame is terminal.
            truncated: bool [N], the episode was cut at this frame.
            first: bool [N], the frame begins an episode and no step led to it.

        Raises:
            ValueError: a shape or type differs, a reward is not finite, or an ended episode goes on without
                `first`; nothing is stored.

        """
        begins = column("first", first, np.dtype(np.bool_))
        split = self._next_split(begins)
        self._ring.add(
            column("frame", frame, np.dtype(np.uint8)),
            column("action", action, np.dtype(np.int64)),
            column("reward", reward, np.dtype(np.float32)),
            column("terminated", terminated, np.dtype(np.bool_)),
            column("truncated", truncated, np.dtype(np.bool_)),
            begins,
            split,
        )
        self._split = split

    def _next_split(self, begins: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
        """The split of the next row: drawn where an episode begins, the episode's own elsewhere."""
        if begins.shape != (self.num_envs,) or not begins.any():
            return self._split
        drawn = random_uniform(self.seed, Stream.HOLDOUT, self._ring.total, self.num_envs)
        return np.where(begins, drawn < self.holdout_ratio, self._split).astype(np.uint8)

    def sample_ids(
        self,
        batch: int,
        n_step: int = 1,
        *,
        context: int = 4,
        split: str = "all",
        stream: int = Stream.REPLAY,
    ) -> npt.NDArray[np.int64]:
        """Ids of `batch` transitions, uniform with replacement: int64 [batch]. ValueError if none is."""
        ids = self._draw(batch, n_step, context, split, stream)
        self.draws += 1
        return ids

    def _draw(self, batch: int, n_step: int, context: int, split: str, stream: int) -> npt.NDArray[np.int64]:
        code = split_code(split)
        return self._ring.sample_ids(batch, n_step, context, self.seed, stream, self.draws, code)

    def sample(
        self,
        batch: int,
        n_step: int = 1,
        *,
        gamma: float = 0.99,
        context: int = 4,
        split: str = "all",
        out: Batch | None = None,
    ) -> Batch:
        """A batch of `batch` transitions, uniform with replacement; into `out` where given."""
        ids = self._draw(batch, n_step, context, split, Stream.REPLAY)
        drawn = self.gather(ids, n_step, gamma=gamma, context=context, out=out)
        self.draws += 1
        return drawn

    def gather(
        self,
        ids: npt.NDArray[np.int64],
        n_step: int = 1,
        *,
        gamma: float = 0.99,
        context: int = 4,
        out: Batch | None = None,
    ) -> Batch:
        """The transitions of the given ids, int64 [B]; into `out` where given.

        The return runs over `n_step` steps, fewer where the episode ends before. ValueError where an id is
        not valid for `n_step` and `context`: not stored (any more), or fewer than n slots from the end.
        """
        out = room_for(ids, context, self.frame_shape, out, device=self.device, windows=n_step == 1)
        columns: tuple[Any, ...] = (out.action, out.reward, out.discount, out.terminated)
        if out.window is None:
            columns = (out.obs, out.next_obs, *columns)
            self._ring.gather(ids, n_step, gamma, context, self.padding_type, *columns)
        elif n_step == 1:
            self._ring.gather_windows(ids, gamma, context, self.padding_type, out.window, *columns)
        else:
            raise ValueError(f"[gather] expected out without windows for n_step {n_step}, got windows")
        out.ids[:] = ids
        out.weight[:] = 1.0
        return out

    def valid_ids(self, n_step: int = 1, *, context: int = 4, split: str = "all") -> npt.NDArray[np.int64]:
        """Every id that `gather` takes, ascending: int64 [K]."""
        return self._ring.valid_ids(n_step, context, split_code(split))

    def outcomes(self, ids: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """The one-step rewards, float32 [B], and ends, bool [B], of the given ids, without their frames."""
        reward, terminated = np.empty(len(ids), np.float32), np.empty(len(ids), np.bool_)
        self._ring.outcomes(ids, reward, terminated)
        return reward, terminated

    def stacks(
        self,
        ids: npt.NDArray[np.int64],
        context: int = 4,
        out: Frames | None = None,
    ) -> Frames:
        """The stacks that the ids' transitions start from: uint8 [B, context, H, W]."""
        if out is None:
            if not 1 <= context <= 256:
                raise ValueError(f"[ReplayBuffer.stacks] expected 1 <= context <= 256, got {context}")
            out = empty_frames(self.device, (len(ids), context, *self.frame_shape))
        self._ring.stacks(ids, context, self.padding_type, out)
        return out

    def state(self) -> dict[str, int]:
        """The counters: with the slots `oldest` to `total` they are all that a restore needs."""
        return {
            "total": self.total,
            "oldest": self.oldest,
            "draws": self.draws,
            "slots": self.slots,
            "num_envs": self.num_envs,
            "seed": self.seed,
        }

    def export(self, first: int, last: int) -> dict[str, npt.NDArray[Any]]:
        """Copies of the slots [first, last), S of them: an immutable segment.

        frame uint8 [S, N, H, W]; action int64, reward float32, terminated, truncated and first bool,
        split uint8, all [S, N].
        """
        return self._ring.export_slots(first, last)

    def restore(
        self, state: Mapping[str, int], segments: Iterable[tuple[int, dict[str, npt.NDArray[Any]]]]
    ) -> None:
        """Becomes the buffer that `state` and the segments were taken from.

        Args:
            state: what `state()` gave there; the two buffers' slots, num_envs and seed must be equal.
            segments: (first slot, segment) pairs, ascending and without a gap, up to state["total"]. They may
                begin before state["oldest"].

        Raises:
            ValueError: something does not fit. The buffer is left empty if a segment was at fault.

        """
        disk.check_same("ReplayBuffer.restore", state, self.state(), ("slots", "num_envs", "seed"))
        self._ring.clear()
        self._split[:] = 0
        try:
            for first, segment in segments:
                self._ring.import_slots(segment, first)
            disk.check_same("ReplayBuffer.restore", state, self.state(), ("total", "oldest"))
        except BaseException:
            self._ring.clear()
            raise
        self.draws = state["draws"]
        if self.total > self.oldest:
            self._split = self.export(self.total - 1, self.total)["split"][0]

    def save(self, path: str | Path) -> None:
        """Writes the buffer into the new folder `path`. FileExistsError where there is one."""
        disk.save(path, self.state(), self._segments())

    def load(self, path: str | Path) -> None:
        """Becomes the buffer that was saved in the folder `path`, in place.

        ValueError where a file is damaged, or where slots, num_envs or seed differ.
        """
        self.restore(*disk.load(path))

    def _segments(self) -> Iterator[tuple[int, dict[str, npt.NDArray[Any]]]]:
        length = disk.rows_of(self.num_envs * self.frame_shape[0] * self.frame_shape[1])
        for start in range(self.oldest, self.total, length):
            yield start, self.export(start, min(start + length, self.total))
