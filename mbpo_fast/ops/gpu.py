"""Networks and rollouts on a GPU: the extension `mbpo_fast._cuda`, which knows addresses and no torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mbpo_fast.ops.gpu_device import Device, check_array
from mbpo_fast.ops.network import PackedNetwork
from mbpo_fast.ops.network_builder import Floats, refuse

ALIGNMENT = 16
"""Bytes; kernels read frames in words of this size."""


class GpuNetwork:
    """Members of one architecture on a device.

    `predicts_frames`: a world model, whose first output becomes the next frame. `shared_limit`: bytes of a
    block's shared memory to use, all that the device has by default; larger maps lie in its main memory.
    """

    def __init__(
        self,
        packed: PackedNetwork,
        device: Device,
        *,
        predicts_frames: bool = False,
        shared_limit: int | None = None,
    ) -> None:
        self.device, self.shapes = device, packed.shapes
        self.context, self.frame_shape = packed.context, packed.frame_shape
        self.actions, self.members = packed.actions, packed.members
        with device.current():
            limit = device.module.shared_memory_limit() if shared_limit is None else shared_limit
        self.core = device.module.Network(*packed.parts, predicts_frames, limit)
        self._memory = device.put(self.core.bytes)
        self.core.load(device.address(self._memory))

    def __call__(
        self, context: npt.NDArray[np.uint8], action: npt.NDArray[np.int64], member: npt.NDArray[np.int64]
    ) -> list[Floats]:
        """The outputs f32 [B, h, w, c] of context u8 [B, C, h, w], action i64 [B], row b by member[b]."""
        device, rows = self.device, len(context)
        wanted = (rows, self.context, *self.frame_shape)
        if context.shape != wanted or context.dtype != np.uint8:
            refuse(f"context uint8 {list(wanted)}", f"{context.dtype} {list(context.shape)}")
        for name, ids, count in (("action", action, self.actions), ("member", member, self.members)):
            if ids.shape != (rows,) or not ((ids >= 0) & (ids < count)).all():
                refuse(f"{rows} values of {name} in [0, {count})", f"{ids.dtype} {list(ids.shape)}")
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        out = device.empty((rows, sum(sizes)), np.float32)
        workspace_bytes = self.core.workspace_bytes(rows)
        workspace = device.empty((workspace_bytes,), np.uint8)
        given = [
            device.put(context),
            device.put(action.astype(np.int32)),
            device.put(member.astype(np.int32)),
        ]
        with device.current():
            self.core.evaluate(
                device.address(workspace),
                workspace_bytes,
                *(device.address(x) for x in given),
                rows,
                device.address(out),
                device.stream,
            )
        parts = np.split(device.get(out), np.cumsum(sizes)[:-1], axis=1)
        return [part.reshape(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)]


class GpuBranches:
    """Memory of branches on a device, laid out as in `mbpo_fast.data.ModelBuffer`.

    `size` places are there; `capacity` is that of the buffer that they belong to or will go to. Beside its
    columns there is `doubt` f32 [size, horizon]: the elites' disagreement about every imagined step where it
    was measured, the steps that were masked included; -1 elsewhere.
    """

    def __init__(
        self,
        device: Device,
        size: int,
        *,
        capacity: int,
        context: int,
        horizon: int,
        frame_shape: tuple[int, int],
    ) -> None:
        self.device, self.size, self.capacity = device, size, capacity
        steps = (size, horizon)
        self.arrays = {
            "frame": device.empty((size, context + horizon, *frame_shape), np.uint8),
            "action": device.empty(steps, np.int64),
            "reward": device.empty(steps, np.float32),
            "terminated": device.empty(steps, np.uint8),
            "member": device.empty(steps, np.int16),
            "length": device.empty((size,), np.int32),
            "doubt": device.empty(steps, np.float32),
        }
        addresses = (device.address(array) for array in self.arrays.values())
        self.core = device.module.Branches(capacity, context, horizon, *frame_shape, *addresses)

    def rows(self, name: str, first: int, rows: int) -> npt.NDArray[Any]:
        """A column of `rows` branches from place `first` on, on the host."""
        array = self.arrays[name]
        parts = (array[first : first + rows], array[: max(0, first + rows - self.size)])
        return np.concatenate([self.device.get(part) for part in parts])

    def outcomes(self, first: int, rows: int) -> dict[str, npt.NDArray[Any]]:
        """What `ModelBuffer.export` gives but for the frames, of `rows` branches from place `first` on."""
        names = ("action", "reward", "terminated", "member", "length")
        columns = {name: self.rows(name, first, rows) for name in names}
        return columns | {"terminated": columns["terminated"].astype(bool)}

    def export(self, first: int, rows: int) -> dict[str, npt.NDArray[Any]]:
        """The branches as `ModelBuffer.export` gives them; what lies past a branch's length is undefined."""
        return self.outcomes(first, rows) | {"frame": self.rows("frame", first, rows)}


def rollout_workspace(policy: GpuNetwork, world: GpuNetwork, rows: int, asked: int = 0) -> Any:
    """Memory for `rollout` of so many branches, u8 on the device.

    `asked`: elites, where all of them are asked about every row.
    """
    needed = world.device.module.workspace_bytes(policy.core, world.core, rows, asked)
    return world.device.empty((needed,), np.uint8)


def rollout(
    policy: GpuNetwork,
    world: GpuNetwork,
    start: Any,
    branches: GpuBranches,
    *,
    first: int,
    horizon: int,
    epsilon: float,
    settings: Mapping[str, Any],
    workspace: Any = None,
) -> None:
    """Roll B branches from `start`, u8 [B, C, h, w] on the device, into the places from `first` on.

    `settings`: the other arguments of the core's rollout by name (`_core.rollout`). With a `workspace`, see
    `rollout_workspace`, it only launches: nothing is allocated or copied, nobody waits, and a CUDA graph may
    capture it; its replays repeat the draws. ValueError where a part does not fit.
    """
    device = world.device
    rows = int(start.shape[0])
    check_array(device, "rollout", "start", start, (rows, world.context, *world.frame_shape))
    if device.address(start) % ALIGNMENT:
        refuse(f"start aligned to {ALIGNMENT} bytes", str(device.address(start) % ALIGNMENT))
    # Only memory as large as the ring may be written round its end.
    if rows > branches.size or (branches.size < branches.capacity and first + rows > branches.size):
        refuse(f"at most {branches.size} branches", f"{rows} from place {first} on")
    if workspace is None:
        asks_all = settings["mean"] or settings["measured"]
        workspace = rollout_workspace(policy, world, rows, len(settings["elites"]) if asks_all else 0)
    with device.current():
        device.module.rollout(
            policy.core,
            world.core,
            device.address(workspace),
            workspace.shape[0],
            device.address(start),
            rows,
            branches.core,
            first,
            horizon=horizon,
            epsilon=epsilon,
            **settings,
            stream=device.stream,
        )
