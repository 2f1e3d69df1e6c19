"""Where the tests of the GPU kernels run: emulated everywhere, on a GPU where there is one."""

import importlib.util

import pytest

from mbpo_fast.ops.gpu import CudaDevice, Device, EmulatedDevice

EMULATED = [1, 3]  # warps of a block
NO_EMULATION = importlib.util.find_spec("mbpo_fast._cuda_emulated") is None


def device_of(kind: str) -> Device:
    if kind == "cuda":
        return CudaDevice()
    if NO_EMULATION:
        pytest.skip("built without MBPO_FAST_EMULATED_CUDA, which `pip install -e` turns on")
    return EmulatedDevice(int(kind))


KINDS = [*(pytest.param(str(warps), id=f"emulated-{warps}") for warps in EMULATED)]
EVERY_DEVICE = pytest.mark.parametrize(
    "device", [*KINDS, pytest.param("cuda", marks=pytest.mark.cuda)], indirect=True
)
ONE_DEVICE = pytest.mark.parametrize(
    "device", [KINDS[0], pytest.param("cuda", marks=pytest.mark.cuda)], indirect=True
)
