"""Where the tests of the GPU kernels run: emulated everywhere, on a GPU where there is one."""

import importlib.util
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from mbpo_fast.ops.gpu_device import CudaDevice, Device, EmulatedDevice

EMULATED = [1, 3]  # warps of a block
NO_EMULATION = importlib.util.find_spec("mbpo_fast._cuda_emulated") is None


class TensorDevice(CudaDevice):
    """What `CudaDevice` does with torch's tensors, on the processor and with the emulated kernels."""

    stream = 1
    free_bytes = 1 << 30

    def __init__(self) -> None:
        import torch

        self._torch, self.device, self.description = torch, torch.device("cpu"), "emulated"
        self.module = EmulatedDevice().module

    def current(self) -> AbstractContextManager[object]:
        return nullcontext()


def on_host(array: Any) -> Any:
    """A device's memory as a NumPy array; needs no torch, for the sanitizers run without it."""
    return array.cpu().numpy() if hasattr(array, "cpu") else array


def device_of(kind: str) -> Device:
    if kind == "cuda":
        return CudaDevice()
    if NO_EMULATION:
        pytest.skip("built without MBPO_FAST_EMULATED_CUDA, which `pip install -e` turns on")
    if kind == "tensors":
        pytest.importorskip("torch")
        return TensorDevice()
    return EmulatedDevice(int(kind))


KINDS = [*(pytest.param(str(warps), id=f"emulated-{warps}") for warps in EMULATED)]
EVERY_DEVICE = pytest.mark.parametrize(
    "device", [*KINDS, pytest.param("cuda", marks=pytest.mark.cuda)], indirect=True
)
# Where the memory of a device meets torch.
TENSORS = pytest.param("tensors", id="emulated-tensors")
WITH_TENSORS = pytest.mark.parametrize(
    "device", [KINDS[0], TENSORS, pytest.param("cuda", marks=pytest.mark.cuda)], indirect=True
)
ONE_DEVICE = pytest.mark.parametrize(
    "device", [KINDS[0], pytest.param("cuda", marks=pytest.mark.cuda)], indirect=True
)
