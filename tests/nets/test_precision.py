"""Which hardware gets bfloat16 by itself."""

import pytest
import torch

from mbpo_fast.nets.precision import use_bf16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "wide", "narrow"),
    [
        ({"cpu_name": "AMD EPYC 9R14", "avx512_bf16": True}, True, False),
        ({"cpu_name": "AMD EPYC 7R13", "avx512_bf16": False}, False, False),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, False, False),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, True, True),
        ({}, False, False),
    ],
)
def test_auto_is_on_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, object], wide: bool, narrow: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert use_bf16("auto", CPU) is wide
    assert use_bf16("auto", CPU, narrow=True) is narrow
    assert use_bf16(True, CPU) is True
    assert use_bf16(False, CPU) is False
