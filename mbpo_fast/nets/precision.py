"""When bfloat16 pays: on GPUs, and on processors that multiply it faster than float32."""

from typing import Literal

import torch

Bf16 = bool | Literal["auto"]
"""A setting: true, false, or auto."""


def use_bf16(setting: Bf16, device: torch.device) -> bool:
    """Resolve `auto`: yes where the hardware is faster in bfloat16, no where it is not or emulates it.

    Intel's AVX-512 multiplies bfloat16 at the rate of float32 and loses the conversions; its AMX and AMD's
    AVX-512 do not (figures in ARCHITECTURE.md).
    """
    if setting != "auto":
        return setting
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    if capabilities.get("amx_bf16"):
        return True
    intel = str(capabilities.get("cpu_name", "")).startswith("Intel")
    return bool(capabilities.get("avx512_bf16")) and not intel


def autocast(device: torch.device, enabled: bool) -> torch.autocast:
    """bfloat16 where torch thinks it safe, inside this context."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def compute_dtype(device: torch.device) -> torch.dtype:
    """What convolutions run in here: the dtype of the autocast around, or float32."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32
