import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import mbpo_fast
from mbpo_fast.ops import build_info


def test_build_info_tells_the_version_that_is_installed():
    info = build_info()
    assert info["version"] == version("mbpo_fast")
    assert info["isa"] == "baseline"
    assert info["cuda"] == "not built"
    assert info["compiler"].split()[0] in ("gcc", "clang")


def test_the_core_needs_no_torch():
    code = "import sys, mbpo_fast.data, mbpo_fast.ops; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_committed_stub_is_that_of_the_built_core(tmp_path):
    generate = [sys.executable, "-m", "pybind11_stubgen", "mbpo_fast._core", "-o", str(tmp_path)]
    subprocess.run(generate, check=True, capture_output=True)

    built = statements(tmp_path / "mbpo_fast" / "_core.pyi")
    assert statements(Path(mbpo_fast.__file__).parent / "_core.pyi") == built


def statements(file: Path) -> list[str]:
    """The file's definitions, whatever their layout and order; the compiler's name may differ."""
    nodes = [n for n in ast.parse(file.read_text()).body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
    return sorted(ast.unparse(node) for node in nodes)
