import ast
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import mbpo_fast
from mbpo_fast import _core
from mbpo_fast.ops import build_info

SAY_ISA = "import mbpo_fast; print(mbpo_fast.build_info()['isa'])"


def test_build_info_tells_the_version_and_what_runs():
    info = build_info()
    assert info["version"] == version("mbpo_fast")
    assert info["isa"] in info["isas"].split(", ")
    assert info["isas"].split(", ")[0] == "baseline"
    assert info["cuda"] in ("built", "not built")
    assert info["compiler"].startswith(("gcc ", "clang "))


@pytest.mark.parametrize("name", _core.isas())
def test_the_environment_forces_an_instruction_set(name):
    environment = os.environ | {"MBPO_FAST_ISA": name}
    said = subprocess.run([sys.executable, "-c", SAY_ISA], env=environment, capture_output=True, text=True)
    assert said.stdout.strip() == name


def test_an_instruction_set_that_is_not_here_is_refused_in_one_line():
    pytest.importorskip("cyclopts")  # the instrumented core is tested without the command line
    environment = os.environ | {"MBPO_FAST_ISA": "avx9"}
    command = [sys.executable, "-m", "mbpo_fast", "info"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert said.returncode == 2
    expected = f"expected one of {', '.join(_core.isas())}, got 'avx9'"
    assert said.stderr.strip() == f"mbpo-fast: error: MBPO_FAST_ISA: {expected}"


def test_an_unknown_instruction_set_changes_nothing():
    before = _core.isa()
    with pytest.raises(ValueError, match=r"\[use_isa\] expected .*baseline.*, got mmx"):
        _core.use_isa("mmx")
    assert _core.isa() == before


def test_the_core_needs_no_torch():
    code = "import sys, mbpo_fast.data, mbpo_fast.ops; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_committed_stub_is_that_of_the_built_core(tmp_path):
    pytest.importorskip("pybind11_stubgen")
    generate = [sys.executable, "-m", "pybind11_stubgen", "mbpo_fast._core", "-o", str(tmp_path)]
    subprocess.run(generate, check=True, capture_output=True)

    built = statements(tmp_path / "mbpo_fast" / "_core.pyi")
    assert statements(Path(mbpo_fast.__file__).parent / "_core.pyi") == built


def statements(file: Path) -> list[str]:
    """The file's definitions, whatever their layout and order; the compiler's name may differ."""
    nodes = [n for n in ast.parse(file.read_text()).body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
    return sorted(ast.unparse(node) for node in nodes)
