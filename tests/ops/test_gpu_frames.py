"""Frames on a GPU, and in its emulation, beside the core's."""

import numpy as np
import pytest
from gpu_devices import EVERY_DEVICE, ONE_DEVICE

from mbpo_fast.ops import preprocess_frames
from mbpo_fast.ops.gpu_device import Device
from mbpo_fast.ops.gpu_frames import GpuPreprocess, gather_frames


@EVERY_DEVICE
@pytest.mark.parametrize("height", [210, 214, 220, 230, 250])
@pytest.mark.parametrize("levels", [1, 100])
def test_frames_equal_the_cores_and_so_opencvs(device: Device, height: int, levels: int) -> None:
    """Few gray levels make sums that fall on a half often."""
    screens = np.random.default_rng(height).integers(0, 256, (6, 2, height, 160), np.uint8) // levels * levels
    ours = device.get(GpuPreprocess(device, (height, 160))(device.put(screens)))
    assert np.array_equal(ours, preprocess_frames(screens))


@ONE_DEVICE
@pytest.mark.parametrize("size", [(84, 79), (30, 160), (17, 3), (1, 1), (210, 160)])
def test_other_sizes_equal_the_cores(device: Device, size: tuple[int, int]) -> None:
    screens = np.random.default_rng(0).integers(0, 256, (2, 2, 210, 160), np.uint8)
    ours = device.get(GpuPreprocess(device, (210, 160), size)(device.put(screens)))
    assert np.array_equal(ours, preprocess_frames(screens, size))


@ONE_DEVICE
def test_screens_that_do_not_fit_are_refused(device: Device) -> None:
    with pytest.raises(ValueError, match=r"\[preprocess_frames\] expected 1 <= width .*got 161 from 160"):
        GpuPreprocess(device, (210, 160), (84, 161))
    shrink = GpuPreprocess(device, (210, 160))
    screens = np.zeros((2, 2, 210, 160), np.uint8)
    for bad in (screens[:, :1], screens.astype(np.int16), screens[:, :, ::-1]):
        with pytest.raises(ValueError, match=r"\[preprocess_frames\] expected frames as a contiguous uint8"):
            shrink(bad if device.description == "emulated" else _on_device(device, bad))
    with pytest.raises(ValueError, match=r"expected out as a contiguous uint8 \[2, 84, 84\]"):
        shrink(device.put(screens), device.empty((2, 84, 85), np.uint8))


def _on_device(device: Device, array: np.ndarray) -> object:
    copied = device.put(array)
    return copied if array.flags.c_contiguous else copied.flip(2)[:, :, ::1].transpose(2, 3)


@EVERY_DEVICE
@pytest.mark.parametrize("shape", [(12, 12), (7, 9)])
def test_stacks_are_gathered(device: Device, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (50, *shape), np.uint8)
    index = rng.integers(-3, 50, (9, 5))
    expected = np.where((index >= 0)[..., None, None], frames[index], 0)
    ours = device.get(gather_frames(device, device.put(frames), device.put(index)))
    assert np.array_equal(ours, expected)
    index[0, 0] = 50
    beyond = device.get(gather_frames(device, device.put(frames), device.put(index)))
    assert not beyond[0, 0].any()


@ONE_DEVICE
def test_indices_of_another_type_are_refused(device: Device) -> None:
    frames = device.put(np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"\[gather_frames\] expected index as a contiguous int64 \[2, 2\]"):
        gather_frames(device, frames, device.put(np.zeros((2, 2), np.int32)))
