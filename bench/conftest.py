"""Benchmarks beside their peers: `pytest bench/bench_*.py --benchmark-enable`.

Every benchmark first asserts the right answer. `turn` repeats each row, so that ours and the peers alternate.
"""

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mbpo_fast.errors import UsageError
from mbpo_fast.ops import build_info
from mbpo_fast.ops.gpu_device import CudaDevice

Tag = Callable[[str, str, int], None]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return names[0].split(":")[1].strip() if names else platform.processor()


def pytest_report_header() -> str:
    return f"machine: {_processor()}, {os.cpu_count()} logical CPUs; core: {build_info()}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Benchmarks of a GPU are left out where there is none, or no extension for it."""
    wanted = [item for item in items if item.get_closest_marker("cuda")]
    if not wanted:
        return
    try:
        CudaDevice()
    except UsageError:
        config.hook.pytest_deselected(items=wanted)
        items[:] = [item for item in items if item not in wanted]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "turn" in metafunc.fixturenames:
        metafunc.parametrize("turn", range(3), scope="session")


@pytest.fixture
def tag(benchmark: Any) -> Tag:
    """Names a row: who is measured, the case (equal for rows to be compared) and the items in one round."""

    def set_info(impl: str, case: str, items: int) -> None:
        benchmark.extra_info.update(impl=impl, case=case, items=items)

    return set_info
