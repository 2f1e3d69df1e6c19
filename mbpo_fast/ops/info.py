"""What was built, and what is in use."""

import importlib.util
import os

from mbpo_fast import _core
from mbpo_fast.errors import UsageError


def select_isa() -> None:
    """Run kernels on the instruction set that the environment variable MBPO_FAST_ISA names, if any."""
    name = os.environ.get("MBPO_FAST_ISA")
    if name is None:
        return
    if name not in _core.isas():
        raise UsageError(f"MBPO_FAST_ISA: expected one of {', '.join(_core.isas())}, got {name!r}")
    _core.use_isa(name)


def build_info() -> dict[str, str]:
    """Version, compiler, instruction sets and state of the CUDA extension, as text for people."""
    return {
        "version": _core.__version__,
        "compiler": _core.__compiler__,
        "isa": _core.isa(),
        "isas": ", ".join(_core.isas()),
        "cuda": "built" if importlib.util.find_spec("mbpo_fast._cuda") else "not built",
    }
