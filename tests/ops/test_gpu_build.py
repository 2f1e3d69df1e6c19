"""The CUDA sources compile for the GPUs that are promised, where nvcc is; nothing is run."""

import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / "csrc"
ARCHITECTURES = ("80", "90a")


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
@pytest.mark.parametrize("source", sorted(CSRC.rglob("*.cu")), ids=lambda path: path.parent.name)
def test_cuda_sources_compile(source: Path, tmp_path: Path) -> None:
    """Less than a minute of one core, nearly all of it for the rollout."""
    codes = [f"-gencode=arch=compute_{name},code=sm_{name}" for name in ARCHITECTURES]
    flags = ["-std=c++20", "--expt-relaxed-constexpr", "-Werror=all-warnings", f"-I{CSRC}", *codes]
    command = ["nvcc", *flags, "-Xptxas", "-v", "-c", str(source), "-o", str(tmp_path / "object.o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kernels = done.stderr.count("Compiling entry function")
    assert kernels >= len(ARCHITECTURES)
    # An array in local memory instead of registers would cost more than all else that can go wrong here.
    assert done.stderr.count("0 bytes spill stores") == kernels
