"""The core's rings with their frames on a GPU: the rings hold numbers, `DeviceFrames` the frames.

Everything else is the rings' own work, above all the drawing, so that the same rows come out. One thread at a
time: a ring's lock knows nothing of the device.
"""

from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from mbpo_fast import _core
from mbpo_fast.data.batch import Frames
from mbpo_fast.data.device_frames import NUMBER_SHAPE, DeviceFrames, numbers_at
from mbpo_fast.ops.gpu import GpuBranches
from mbpo_fast.ops.gpu_device import Device

Ids = npt.NDArray[np.int64]
Segment = dict[str, npt.NDArray[Any]]


def _numbers(ids: Ids, frames: SupportsIndex) -> npt.NDArray[np.uint8]:
    return np.empty((len(ids), int(frames), *NUMBER_SHAPE), np.uint8)


class DeviceFrameRing(_core.FrameRing):
    """`FrameRing` whose gathers fill memory of the device; a slot's frames lie side by side there."""

    def __init__(self, device: Device, num_envs: int, slots: int, height: int, width: int) -> None:
        super().__init__(num_envs, slots, *NUMBER_SHAPE)
        self.frames = DeviceFrames(device, device.empty((num_envs * slots, height, width), np.uint8))

    def _places(self, first: int, last: int) -> Ids:
        """Where the frames of the slots [first, last) lie: int64 [S, N]."""
        return np.arange(first, last)[:, None] % self.capacity * self.num_envs + np.arange(self.num_envs)

    def add(self, frame: npt.NDArray[np.uint8], *columns: Any, **named: Any) -> None:
        """See `FrameRing.add`; frame uint8 [N, h, w] is on the host."""
        places = self._places(self.total, self.total + 1)[0]
        super().add(self.frames.numbers("FrameRing.add", places, frame), *columns, **named)
        self.frames.write(places, frame)

    def gather(
        self,
        ids: Ids,
        n_step: SupportsIndex,
        gamma: Any,
        context: SupportsIndex,
        padding: str,
        obs: Frames,
        next_obs: Frames,
        *columns: Any,
        **named: Any,
    ) -> None:
        """See `FrameRing.gather`."""
        before, after = _numbers(ids, context), _numbers(ids, context)
        super().gather(ids, n_step, gamma, context, padding, before, after, *columns, **named)
        self.frames.read(before, obs)
        self.frames.read(after, next_obs)

    def gather_windows(
        self,
        ids: Ids,
        gamma: Any,
        context: SupportsIndex,
        padding: str,
        window: Frames,
        *columns: Any,
        **named: Any,
    ) -> None:
        """See `FrameRing.gather_windows`."""
        numbers = _numbers(ids, int(context) + 1)
        super().gather_windows(ids, gamma, context, padding, numbers, *columns, **named)
        self.frames.read(numbers, window)

    def stacks(self, ids: Ids, context: SupportsIndex, padding: str, out: Frames) -> None:
        """See `FrameRing.stacks`."""
        numbers = _numbers(ids, context)
        super().stacks(ids, context, padding, numbers)
        self.frames.read(numbers, out)

    def export_slots(self, from_slot: SupportsIndex, to_slot: SupportsIndex) -> Segment:
        """See `FrameRing.export_slots`: a copy on the host."""
        segment = super().export_slots(from_slot, to_slot)
        return segment | {"frame": self.frames.export(segment["frame"])}

    def import_slots(self, segment: Segment, from_slot: SupportsIndex) -> None:
        """See `FrameRing.import_slots`."""
        frames = segment["frame"]
        places = self._places(int(from_slot), int(from_slot) + len(frames))
        numbers = self.frames.numbers("FrameRing.import_slots", places, frames)
        super().import_slots(segment | {"frame": numbers}, from_slot)
        self.frames.write(places, frames)

    @property
    def nbytes(self) -> int:
        """Bytes of memory at full size, on the host and on the device."""
        return super().nbytes + self.frames.nbytes


class DeviceBranchRing(_core.BranchRing):
    """`BranchRing` whose frames lie in `branches`, the device memory that a rollout writes."""

    def __init__(
        self, device: Device, capacity: int, context: int, horizon: int, height: int, width: int
    ) -> None:
        super().__init__(capacity, context, horizon, *NUMBER_SHAPE)
        self.branches = GpuBranches(
            device,
            capacity,
            capacity=capacity,
            context=context,
            horizon=horizon,
            frame_shape=(height, width),
        )
        self.frames = DeviceFrames(device, self.branches.arrays["frame"].reshape(-1, height, width))

    def _places(self, branches: Ids) -> Ids:
        """Where the frames of branches int64 [B] lie: int64 [B, context + horizon]."""
        room = self.context + self.horizon
        return branches[:, None] % self.capacity * room + np.arange(room)

    def begin(self, start: npt.NDArray[np.uint8]) -> Ids:
        """See `BranchRing.begin`; start uint8 [B, context, h, w] is on the host."""
        places = self._places(np.arange(self.total, self.total + len(start)))[:, : self.context]
        ids = super().begin(self.frames.numbers("BranchRing.begin", places, start))
        self.frames.write(places, start)
        return ids

    def append(self, ids: Ids, frame: npt.NDArray[np.uint8], *columns: Any, **named: Any) -> None:
        """See `BranchRing.append`; frame uint8 [B, h, w] is on the host."""
        newest = self._newest(ids)
        # Each step's frame lies behind the branch's newest one.
        super().append(ids, self.frames.numbers("BranchRing.append", newest + 1, frame), *columns, **named)
        self.frames.write(newest + 1, frame)

    def _newest(self, ids: Ids) -> Ids:
        numbers = _numbers(ids, 1)
        super().latest(ids, 1, numbers)
        places: Ids = numbers.reshape(-1, 8).view(np.int64)[:, 0] - 1
        return places

    def adopt(self, rows: int) -> None:
        """Takes over the `rows` branches that a rollout has written behind the newest one."""
        outcomes = self.branches.outcomes(self.total % self.capacity, rows)
        numbers = numbers_at(self._places(np.arange(self.total, self.total + rows)))
        super().import_branches(outcomes | {"frame": numbers}, self.total)

    def gather(
        self,
        ids: Ids,
        n_step: SupportsIndex,
        gamma: Any,
        context: SupportsIndex,
        obs: Frames,
        next_obs: Frames,
        *columns: Any,
        **named: Any,
    ) -> None:
        """See `BranchRing.gather`."""
        before, after = _numbers(ids, context), _numbers(ids, context)
        super().gather(ids, n_step, gamma, context, before, after, *columns, **named)
        self.frames.read(before, obs)
        self.frames.read(after, next_obs)

    def latest(self, ids: Ids, context: SupportsIndex, out: Frames) -> None:
        """See `BranchRing.latest`."""
        numbers = _numbers(ids, context)
        super().latest(ids, context, numbers)
        self.frames.read(numbers, out)

    def export_branches(self, from_branch: SupportsIndex, to_branch: SupportsIndex) -> Segment:
        """See `BranchRing.export_branches`: a copy on the host."""
        segment = super().export_branches(from_branch, to_branch)
        return segment | {"frame": self.frames.export(segment["frame"])}

    def import_branches(self, segment: Segment, from_branch: SupportsIndex) -> None:
        """See `BranchRing.import_branches`."""
        frames = segment["frame"]
        places = self._places(int(from_branch) + np.arange(len(frames)))
        numbers = self.frames.numbers("BranchRing.import_branches", places, frames)
        super().import_branches(segment | {"frame": numbers}, from_branch)
        self.frames.write(places, frames)

    @property
    def nbytes(self) -> int:
        """Bytes of memory at full size, on the host and on the device."""
        return super().nbytes + self.frames.nbytes
