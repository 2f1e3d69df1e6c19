"""What was built, and what is in use."""

from mbpo_fast import _core


def build_info() -> dict[str, str]:
    """Version, compiler, instruction set in use and state of the CUDA extension, as text for people."""
    return {
        "version": _core.__version__,
        "compiler": _core.__compiler__,
        "isa": "baseline",
        "cuda": "not built",
    }
