"""Rules for every test: no global random state is touched, and GPU tests are skipped in this one place."""

import importlib.util
import os
import random
from collections.abc import Iterator

import numpy as np
import pytest

# Before torch loads. One thread: the same bits on every machine, and no spinning beside other processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Imports draw from `random`; they must not do so inside a test.
if importlib.util.find_spec("torch") is not None:
    import mbpo_fast.training.run  # noqa: F401


def _cuda_is_available() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    wanted = [item for item in items if item.get_closest_marker("cuda")]
    if not wanted or os.environ.get("MBPO_FAST_REQUIRE_CUDA") == "1" or _cuda_is_available():
        return
    for item in wanted:
        item.add_marker(pytest.mark.skip(reason="no CUDA device (MBPO_FAST_REQUIRE_CUDA=1 runs it anyway)"))


@pytest.fixture(autouse=True)
def _global_random_state_untouched() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    yield
    after = np.random.get_state()  # noqa: NPY002
    assert random.getstate() == python, "the test or the code under test drew from `random`"
    assert all(np.array_equal(a, b) for a, b in zip(numpy, after, strict=True)), (
        "the test or the code under test drew from `numpy.random`"
    )


@pytest.fixture(scope="module", params=["baseline", "avx2", "avx512"])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The instruction set whose kernels run; skipped where the machine lacks it."""
    from mbpo_fast import _core

    if request.param not in _core.isas():
        pytest.skip(f"this machine has no {request.param}")
    before = _core.isa()
    _core.use_isa(request.param)
    assert _core.isa() == request.param
    yield request.param
    _core.use_isa(before)


@pytest.fixture
def fast_bf16() -> None:
    """Skips where no instruction set multiplies bfloat16 faster than float32."""
    from mbpo_fast import _core

    if not _core.has_fast_bf16():
        pytest.skip("this processor has no fast products of bfloat16")


@pytest.fixture
def device(request: pytest.FixtureRequest) -> object:
    """See tests/gpu_devices.py."""
    from gpu_devices import device_of

    return device_of(request.param)
