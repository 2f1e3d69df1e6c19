"""Which hardware gets bfloat16 by itself."""

import pytest
import torch

from mbpo_fast.nets.precision import use_bf16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "faster"),
    [
        ({"cpu_name": "AMD EPYC 9R14", "avx512_bf16": True}, True),
        ({"cpu_name": "AMD EPYC 7R13", "avx512_bf16": False}, False),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, True),
        ({}, False),
    ],
)
def test_auto_is_on_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, object], faster: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert use_bf16("auto", CPU) is faster
    assert use_bf16(True, CPU) is True
    assert use_bf16(False, CPU) is False
