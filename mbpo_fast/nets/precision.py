"""When bfloat16 pays: on GPUs, and on processors with bfloat16 arithmetic."""

from typing import Literal

import torch

Bf16 = bool | Literal["auto"]
"""A setting: true, false, or auto."""


def use_bf16(setting: Bf16, device: torch.device) -> bool:
    """Resolve `auto`: yes where the hardware multiplies bfloat16, where it is emulated no."""
    if setting != "auto":
        return setting
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(device: torch.device, enabled: bool) -> torch.autocast:
    """bfloat16 where torch thinks it safe, inside this context."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
