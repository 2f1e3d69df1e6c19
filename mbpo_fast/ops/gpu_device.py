"""A GPU as the extension `mbpo_fast._cuda` sees it, and its emulation: module, memory and stream."""

import importlib
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mbpo_fast.errors import UsageError

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

    def current(self) -> AbstractContextManager[object]:
        """While it lasts, this thread launches here."""

    def holds(self, array: Any) -> bool:
        """Whether the array lies in its memory."""

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
    """A GPU by way of torch's allocator and current stream.

    UsageError where there is none, or one that cannot run the kernels.
    """

    def __init__(self, index: int | None = None) -> None:
        import torch

        if not torch.cuda.is_available():
            raise UsageError("cuda: expected a CUDA device that torch can use, got none")
        self.module = load_cuda()
        self._torch = torch
        self.device = torch.device("cuda", torch.cuda.current_device() if index is None else index)
        self.description = torch.cuda.get_device_name(self.device)
        self._try_a_kernel()

    def _try_a_kernel(self) -> None:
        # An old GPU or driver is found out here, where there is a way round, not in the middle of training.
        try:
            frames, index = self.put(np.zeros((1, 16), np.uint8)), self.put(np.zeros(1, np.int64))
            out = self.empty((1, 16), np.uint8)
            places = [self.address(x) for x in (frames, index, out)]
            with self.current():
                self.module.gather_frames(places[0], 1, 16, places[1], 1, places[2], self.stream)
            self.get(out)
        except RuntimeError as error:
            raise UsageError(
                f"cuda: expected a GPU of compute capability 8.0 or newer and a driver for CUDA 13, "
                f"got {self.description}: {error}"
            ) from error

    @property
    def free_bytes(self) -> int:
        """As the driver says."""
        return int(self._torch.cuda.mem_get_info(self.device)[0])

    @property
    def stream(self) -> int:
        """Torch's current stream."""
        return int(self._torch.cuda.current_stream(self.device).cuda_stream)

    def current(self) -> AbstractContextManager[object]:
        """The handle of torch's default stream is 0 on every GPU, so it does not say on which."""
        context: AbstractContextManager[object] = self._torch.cuda.device(self.device)
        return context

    def holds(self, array: Any) -> bool:
        """A tensor on this GPU."""
        return isinstance(array, self._torch.Tensor) and array.device == self.device

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

    def current(self) -> AbstractContextManager[object]:
        """There is no other."""
        return nullcontext()

    def holds(self, array: Any) -> bool:
        """Any NumPy array."""
        return isinstance(array, np.ndarray)

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


def check_array(
    device: Device, op: str, name: str, array: Any, shape: tuple[int, ...], dtype: str = "uint8"
) -> None:
    """ValueError unless the array is contiguous, of this shape and type, on the device."""
    if not device.holds(array):
        where = getattr(array, "device", "main memory") if hasattr(array, "dtype") else type(array).__name__
        raise ValueError(f"[{op}] expected {name} on the device ({device.description}), got {where}")
    # A torch tensor says it by a method, a NumPy array by a flag.
    contiguous = array.is_contiguous() if hasattr(array, "is_contiguous") else array.flags.c_contiguous
    kind = str(array.dtype).rpartition(".")[2]  # of "torch.uint8"
    if tuple(array.shape) != shape or kind != dtype or not contiguous:
        got = f"{array.dtype} {list(array.shape)}{'' if contiguous else ' not contiguous'}"
        raise ValueError(f"[{op}] expected {name} as a contiguous {dtype} {list(shape)}, got {got}")
