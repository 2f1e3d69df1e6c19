"""Memory of imagined transitions: the branches of model rollouts."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mbpo_fast import _core
from mbpo_fast.data import disk
from mbpo_fast.data.batch import Batch, Frames, empty_frames, room_for
from mbpo_fast.data.device_rings import DeviceBranchRing
from mbpo_fast.ops.gpu import GpuBranches
from mbpo_fast.ops.gpu_device import Device
from mbpo_fast.ops.random import Stream, random_words


class ModelBuffer:
    """A ring of branches: each is `context` real frames and up to `horizon` generated ones, stored once.

    Branch ids count the branches begun; the oldest branch makes room for a new one. A transition's id is
    branch * horizon + step. The core locks, so one thread may read while another one writes; not so with
    frames on a device.
    """

    def __init__(
        self,
        capacity: int,
        *,
        context: int = 4,
        horizon: int = 1,
        frame_shape: tuple[int, int] = (84, 84),
        seed: int = 0,
        device: Device | None = None,
    ) -> None:
        """Room for `capacity` branches. `seed`, in [0, 2**64), is that of the sampling.

        `device`: a GPU that keeps the frames, see `ReplayBuffer`.
        """
        self.device, self.frame_shape = device, frame_shape
        self._ring = self._new_ring(capacity, context, horizon)
        random_words(seed, Stream.MODEL_BUFFER, 0, 0)
        self.seed, self.draws = seed, 0

    def _new_ring(self, capacity: int, context: int, horizon: int) -> _core.BranchRing:
        if self.device is None:
            return _core.BranchRing(capacity, context, horizon, *self.frame_shape)
        return DeviceBranchRing(self.device, capacity, context, horizon, *self.frame_shape)

    def __len__(self) -> int:
        """Stored transitions."""
        return self.num_transitions

    @property
    def ring(self) -> _core.BranchRing:
        """The core's memory, for a rollout that writes straight into it."""
        return self._ring

    @property
    def branches(self) -> GpuBranches | None:
        """The memory on the device that a rollout there writes, before `adopt`; None: there is no device."""
        return self._ring.branches if isinstance(self._ring, DeviceBranchRing) else None

    def adopt(self, rows: int) -> None:
        """Takes over `rows` branches that lie in `branches`, from the place of the next branch on."""
        if not isinstance(self._ring, DeviceBranchRing):
            raise ValueError("[ModelBuffer.adopt] expected a buffer on a device, got one in main memory")
        self._ring.adopt(rows)

    @property
    def num_transitions(self) -> int:
        """Stored transitions."""
        return self._ring.num_transitions

    @property
    def capacity(self) -> int:
        """Branches at most."""
        return self._ring.capacity

    @property
    def context(self) -> int:
        """Real frames a branch begins with."""
        return self._ring.context

    @property
    def horizon(self) -> int:
        """Steps a branch has at most."""
        return self._ring.horizon

    @property
    def size(self) -> int:
        """Stored branches."""
        return self._ring.size

    @property
    def total(self) -> int:
        """Branches begun so far: the newest branch is total - 1."""
        return self._ring.total

    @property
    def oldest(self) -> int:
        """The oldest branch that is still stored."""
        return self._ring.total - self._ring.size

    @property
    def nbytes(self) -> int:
        """Bytes of memory at full size."""
        return self._ring.nbytes

    def begin(self, start: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Begins B branches from real stacks, uint8 [B, context, H, W]: their ids, int64 [B].

        ValueError where B is 0 or more than the capacity.
        """
        return self._ring.begin(np.ascontiguousarray(start))

    def append(
        self,
        ids: npt.NDArray[np.int64],
        frame: npt.NDArray[np.uint8],
        action: npt.NDArray[np.int64],
        reward: npt.NDArray[np.float32],
        terminated: npt.NDArray[np.bool_],
        member: npt.NDArray[np.int16],
    ) -> None:
        """Adds one step to each of B branches.

        Args:
            ids: int64 [B], the branches, each at most once.
            frame: uint8 [B, H, W], the generated frames.
            action: int64 [B].
            reward: float32 [B].
            terminated: bool [B].
            member: int16 [B], the ensemble member that made the step.

        Raises:
            ValueError: a branch is full, terminated or gone, or an array does not fit; nothing is stored.

        """
        self._ring.append(ids, np.ascontiguousarray(frame), action, reward, terminated, member)

    def latest(
        self,
        ids: npt.NDArray[np.int64],
        context: int | None = None,
        out: Frames | None = None,
    ) -> Frames:
        """The newest frames of each branch, its own context's number by default: uint8 [B, context, H, W]."""
        frames = self.context if context is None else context
        if out is None:
            out = empty_frames(self.device, (len(ids), max(frames, 0), *self.frame_shape))
        self._ring.latest(ids, frames, out)
        return out

    def sample_ids(self, batch: int) -> npt.NDArray[np.int64]:
        """Ids of `batch` transitions, uniform over the stored ones: int64 [batch]. ValueError if none is."""
        ids = self._draw(batch)
        self.draws += 1
        return ids

    def _draw(self, batch: int) -> npt.NDArray[np.int64]:
        return self._ring.sample_ids(batch, self.seed, Stream.MODEL_BUFFER, self.draws)

    def sample(
        self,
        batch: int,
        n_step: int = 1,
        *,
        gamma: float = 0.99,
        context: int = 4,
        out: Batch | None = None,
    ) -> Batch:
        """A batch of `batch` transitions, uniform with replacement; into `out` where given."""
        ids = self._draw(batch)
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

        The return runs over `n_step` steps, fewer where the branch ends before, and bootstraps from the
        branch's last frame. ValueError where an id is not stored, or `context` exceeds the branches' own.
        """
        out = room_for(ids, context, self.frame_shape, out, device=self.device)
        self._ring.gather(
            ids,
            n_step,
            gamma,
            context,
            out.obs,
            out.next_obs,
            out.action,
            out.reward,
            out.discount,
            out.terminated,
        )
        out.ids[:] = ids
        out.weight[:] = 1.0
        return out

    def resize(self, capacity: int, horizon: int) -> None:
        """Changes the number of branches and their length, and keeps the newest branches that fit.

        A branch longer than the new horizon keeps its first steps. Branch ids stay; transition ids change
        with the horizon. The old memory is freed at the end.
        """
        ring = self._new_ring(capacity, self.context, horizon)
        if not self.size:
            _begin_at(ring, self.total)
        kept = max(self.oldest, self.total - capacity)
        for start, segment in self._segments(kept):
            ring.import_branches(_with_horizon(segment, self.context, horizon), start)
        self._ring = ring

    def clear(self) -> None:
        """Forgets all branches; the ids go on."""
        self._ring.clear()

    def state(self) -> dict[str, int]:
        """The counters: with the branches `oldest` to `total` they are all that a restore needs."""
        return {
            "total": self.total,
            "oldest": self.oldest,
            "draws": self.draws,
            "capacity": self.capacity,
            "context": self.context,
            "horizon": self.horizon,
            "seed": self.seed,
        }

    def export(self, first: int, last: int) -> dict[str, npt.NDArray[Any]]:
        """Copies of the branches [first, last), S of them, with zeros past a branch's length.

        frame uint8 [S, context + horizon, H, W], action int64, reward float32, terminated bool, member int16
        [S, horizon], length int32 [S].
        """
        return self._ring.export_branches(first, last)

    def restore(
        self, state: Mapping[str, int], segments: Iterable[tuple[int, dict[str, npt.NDArray[Any]]]]
    ) -> None:
        """Becomes the buffer that `state` and the segments were taken from; see `ReplayBuffer.restore`.

        Capacity and horizon become those of `state`; context and seed must be equal.
        """
        op = "ModelBuffer.restore"
        disk.check_same(op, state, self.state(), ("context", "seed"))
        ring = self._new_ring(state["capacity"], self.context, state["horizon"])
        if state["oldest"] == state["total"]:
            _begin_at(ring, state["total"])
        for start, segment in segments:
            ring.import_branches(segment, start)
        own = {"total": ring.total, "oldest": ring.total - ring.size}
        disk.check_same(op, state, own, ("total", "oldest"))
        self._ring, self.draws = ring, state["draws"]

    def save(self, path: str | Path) -> None:
        """Writes the buffer into the new folder `path`. FileExistsError where there is one."""
        disk.save(path, self.state(), self._segments(self.oldest))

    def load(self, path: str | Path) -> None:
        """Becomes the buffer that was saved in the folder `path`. ValueError where a file is damaged."""
        self.restore(*disk.load(path))

    def _segments(self, from_branch: int) -> Iterator[tuple[int, dict[str, npt.NDArray[Any]]]]:
        frame_bytes = self.frame_shape[0] * self.frame_shape[1]
        length = disk.rows_of((self.context + self.horizon) * frame_bytes)
        for start in range(from_branch, self.total, length):
            yield start, self.export(start, min(start + length, self.total))


def _begin_at(ring: _core.BranchRing, total: int) -> None:
    """Let the ids of an empty ring go on from `total`."""
    ring.import_branches(ring.export_branches(0, 0), total)


def _with_horizon(
    segment: dict[str, npt.NDArray[Any]], context: int, horizon: int
) -> dict[str, npt.NDArray[Any]]:
    """The segment with room for `horizon` steps: cut, or filled up with zeros."""
    resized = {"length": np.minimum(segment["length"], np.int32(horizon))}
    for name, array in segment.items():
        if name == "length":
            continue
        room = context + horizon if name == "frame" else horizon
        resized[name] = np.zeros((array.shape[0], room, *array.shape[2:]), array.dtype)
        kept = min(room, array.shape[1])
        resized[name][:, :kept] = array[:, :kept]
    return resized
