"""Pages that come from the code are those that the code gives now, and the site's links lead somewhere."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from mbpo_fast.config import config_schema_rows, preset_names

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / "tools" / "docs_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_pages_equal_the_generated_ones(tool: ModuleType) -> None:
    for path, text in tool.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run python tools/docs_pages.py"


def test_every_setting_and_preset_is_on_the_page(tool: ModuleType) -> None:
    lines = tool.settings_page().splitlines()
    keys = re.findall(r"^\| `([\w.]+)` \|", "\n".join(lines), re.MULTILINE)
    assert keys == [row.key for row in config_schema_rows()]
    assert [line.removeprefix("### ") for line in lines if line.startswith("### ")] == preset_names()
    # A stray | would shift the columns.
    assert {line.count("|") for line in lines if line.startswith("| `")} == {5}


def test_the_check_names_a_page_that_is_out_of_date(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "DOCS", tmp_path / "docs")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/images").mkdir()
    names = ("quickstart", "engines", "ablation", "cards", "cards_elsewhere", "baselines")
    tables = "".join(f"<!-- table: {name} -->\n<!-- end -->\n" for name in names)
    (tmp_path / "docs/results.md").write_text(tables)
    (tmp_path / "docs/algorithms").mkdir()
    (tmp_path / "docs/algorithms/ddqn.md").write_text("<!-- table: switches -->\n<!-- end -->\n")
    assert tool.main(["--check"]) == 1
    assert "docs/settings.md: out of date" in capsys.readouterr().err
    assert tool.main([]) == 0
    assert tool.main(["--check"]) == 0
    page = tmp_path / "docs/results.md"
    page.write_text(page.read_text().replace("276.8", "999.9"))
    assert tool.main(["--check"]) == 1
    assert capsys.readouterr().err.startswith("docs/results.md: out of date")


def test_the_readme_has_the_same_results(tool: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    rows = tool.quickstart_rows()
    assert len(rows) == len(list((ROOT / "results" / "quickstart").glob("*.json"))) >= 3
    assert [row for row in rows if row not in readme] == []


def test_a_row_is_read_from_its_file(tool: ModuleType) -> None:
    result = json.loads((ROOT / "results/quickstart/seed0.json").read_text())
    row = tool._quickstart_row(result | {"gate_opened_at": None, "synthetic_rows": 0})
    assert row.endswith("| never, 24,005 | 0 % |")
    mean = sum(result["agent"]["scores"]) / len(result["agent"]["scores"])
    assert row.startswith(f"| 0 | {mean:.1f} (")


def test_a_baselines_row_is_read_from_its_file(tool: ModuleType) -> None:
    result = json.loads((ROOT / "results/ppo/seed0.json").read_text())
    scores = result["evaluation"]["scores"]
    mean = sum(scores) / len(scores)
    assert tool._baseline_row(result).startswith(f"| `ppo` |  | 1,000,002 | 0 | {mean:.1f} (")
    changed = result | {"command": result["command"] + " --agent.bf16 auto"}
    assert "| `ppo` | `agent.bf16` auto | 1,000,002 |" in tool._baseline_row(changed)


def test_the_navigation_has_every_page_and_no_other() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"[\w/-]+\.md", text[text.index("nav:") : text.index("markdown_extensions:")])
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
    assert yaml.safe_load(text)["strict"] is True


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        path = (page.parent / target).resolve()
        # The site has nothing from outside its folder: such a file is named as code, without a link.
        assert path.is_file(), f"{page.name}: {target}"
        assert path.is_relative_to(DOCS), f"{page.name}: {target} is outside docs"
