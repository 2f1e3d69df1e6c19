"""Networks and rollouts on a GPU: the extension `mbpo_fast._cuda`, which knows addresses and no torch."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mbpo_fast.errors import UsageError
from mbpo_fast.ops.network import PackedNetwork
from mbpo_fast.ops.network_builder import Floats

MISSING = (
    "this build has no CUDA extension; with nvcc on the PATH: pip install . -C cmake.define.MBPO_FAST_CUDA=ON"
)


class Device(Protocol):
    """Where kernels run: their module, memory and stream."""

    module: ModuleType
    description: str

    @property
    def free_bytes(self) -> int:
        """Memory that nobody uses now."""

    @property
    def stream(self) -> int:
        """The handle of the stream that launches go to."""

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        """New memory."""

    def put(self, array: npt.NDArray[Any]) -> Any:
        """A copy of a NumPy array; what lies there already as it is."""

    def write(self, memory: Any, places: npt.NDArray[np.int64], rows: npt.NDArray[Any]) -> None:
        """memory[places] = rows, from the host; no place twice."""

    def get(self, memory: Any) -> npt.NDArray[Any]:
        """A copy as a NumPy array, when what fills it has ended."""

    def address(self, memory: Any) -> int:
        """Of the first byte."""


class CudaDevice:
    """A GPU by way of torch's allocator and current stream. UsageError where there is none."""

    def __init__(self, index: int | None = None) -> None:
        import torch

        if not torch.cuda.is_available():
            raise UsageError("cuda: expected a CUDA device that torch can use, got none")
        self.module = load_cuda()
        self._torch = torch
        self.device = torch.device("cuda", torch.cuda.current_device() if index is None else index)
        self.description = torch.cuda.get_device_name(self.device)

    @property
    def free_bytes(self) -> int:
        """As the driver says."""
        return int(self._torch.cuda.mem_get_info(self.device)[0])

    @property
    def stream(self) -> int:
        """Torch's current stream."""
        return int(self._torch.cuda.current_stream(self.device).cuda_stream)

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        """A tensor."""
        return self._torch.from_numpy(np.empty(0, dtype)).new_empty(shape, device=self.device)

    def put(self, array: Any) -> Any:
        """A tensor."""
        if isinstance(array, self._torch.Tensor):
            return array.to(self.device).contiguous()
        return self._torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def write(self, memory: Any, places: npt.NDArray[np.int64], rows: npt.NDArray[Any]) -> None:
        """By an indexed copy."""
        memory.index_copy_(0, self.put(places), self.put(rows))

    def get(self, memory: Any) -> npt.NDArray[Any]:
        """Waits for the current stream."""
        array: npt.NDArray[Any] = memory.cpu().numpy()
        return array

    def address(self, memory: Any) -> int:
        """`data_ptr` of a contiguous tensor."""
        return int(memory.data_ptr())


class EmulatedDevice:
    """The kernels on the processor, for tests: a thread for each of the `warps` of a block."""

    def __init__(self, warps: int = 1) -> None:
        self.module = importlib.import_module("mbpo_fast._cuda_emulated")
        self.description = "emulated"
        self.stream = warps
        self.free_bytes = 1 << 30

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        """An array, filled with bytes that no result is likely to hold."""
        memory = np.empty(shape, dtype)
        memory.view(np.uint8).fill(0xFF)
        return memory

    def put(self, array: npt.NDArray[Any]) -> Any:
        """A copy."""
        return np.array(array, order="C")

    def write(self, memory: Any, places: npt.NDArray[np.int64], rows: npt.NDArray[Any]) -> None:
        """By an indexed copy."""
        memory[places] = rows

    def get(self, memory: Any) -> npt.NDArray[Any]:
        """The array itself."""
        array: npt.NDArray[Any] = memory
        return array

    def address(self, memory: Any) -> int:
        """Of its data."""
        return int(memory.ctypes.data)


def load_cuda() -> ModuleType:
    """The extension. UsageError where it was not built."""
    try:
        return importlib.import_module("mbpo_fast._cuda")
    except ImportError as error:
        raise UsageError(f"cuda: {MISSING} ({error})") from error


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
        limit = device.module.shared_memory_limit() if shared_limit is None else shared_limit
        self.core = device.module.Network(*packed.parts, predicts_frames, limit)
        self._memory = device.put(self.core.bytes)
        self.core.load(device.address(self._memory))

    def __call__(
        self, context: npt.NDArray[np.uint8], action: npt.NDArray[np.int64], member: npt.NDArray[np.int64]
    ) -> list[Floats]:
        """The outputs f32 [B, h, w, c] of context u8 [B, C, h, w], action i64 [B], row b by member[b]."""
        device, rows = self.device, len(context)
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        out = device.empty((rows, sum(sizes)), np.float32)
        workspace_bytes = self.core.workspace_bytes(rows)
        workspace = device.empty((workspace_bytes,), np.uint8)
        given = [
            device.put(context),
            device.put(action.astype(np.int32)),
            device.put(member.astype(np.int32)),
        ]
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
        self.device, self.size = device, size
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
    if not str(start.dtype).endswith("uint8"):
        raise ValueError(f"[rollout] expected start uint8 [B, C, h, w], got {start.dtype}")
    rows = int(start.shape[0])
    if workspace is None:
        asks_all = settings["mean"] or settings["measured"]
        workspace = rollout_workspace(policy, world, rows, len(settings["elites"]) if asks_all else 0)
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
