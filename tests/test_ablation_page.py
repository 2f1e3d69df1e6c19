"""The table and the curves with and without a model, from made-up results."""

import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def ablation(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import ablation

    return ablation


def write_run(results: Path, arm: str, seed: int, score: float, steps: int = 24_000, **more: int) -> None:
    curve = {"step": list(range(1000, steps + 1, 1000)), "ep_rew_mean": [score / 2] * (steps // 1000)}
    evaluation = {"mean": score, "ci95": [score - 5, score + 5]}
    (results / arm).mkdir(parents=True, exist_ok=True)
    run = {"seed": seed, "evaluation": evaluation, "curve": curve} | more
    (results / arm / f"seed{seed}.json").write_text(json.dumps(run))


def test_each_run_has_a_row_and_each_arm_a_mean(ablation: ModuleType, tmp_path: Path) -> None:
    for seed, score in enumerate((100.0, 200.0, 330.0)):
        write_run(tmp_path, "control", seed, score)
    write_run(tmp_path, "tuned", 0, 100.0)
    write_run(tmp_path, "tuned", 1, 300.0)
    write_run(tmp_path, "oracle", 0, 400.0, synthetic_rows=300, real_rows=100)
    assert ablation.rows(tmp_path) == [
        "| no model | 0 | 0 % | 50, 50, 50 | 100.0 (95.0 to 105.0) |",
        "| no model | 1 | 0 % | 100, 100, 100 | 200.0 (195.0 to 205.0) |",
        "| no model | 2 | 0 % | 165, 165, 165 | 330.0 (325.0 to 335.0) |",
        "| **no model** | mean of 3 | | 105, 105, 105 | **210.0** (122 to 302) |",
        "| quick start | 0 | 0 % | 50, 50, 50 | 100.0 (95.0 to 105.0) |",
        "| quick start | 1 | 0 % | 150, 150, 150 | 300.0 (295.0 to 305.0) |",
        "| **quick start** | mean of 2 | | 100, 100, 100 | **200.0** |",
        "| perfect model | 0 | 75 % | 200, 200, 200 | 400.0 (395.0 to 405.0) |",
    ]


def test_what_a_run_did_not_reach_is_a_dash(ablation: ModuleType, tmp_path: Path) -> None:
    write_run(tmp_path, "control", 0, 100.0, steps=16_000)
    assert ablation.rows(tmp_path) == ["| no model | 0 | 0 % | 50, 50, - | 100.0 (95.0 to 105.0) |"]


def test_curves_have_each_seed_and_a_mean_with_its_band(ablation: ModuleType, tmp_path: Path) -> None:
    assert ablation.curves_svg(tmp_path) == ""
    for seed in range(3):
        write_run(tmp_path, "control", seed, 100.0 + seed)
    for seed in range(2):
        write_run(tmp_path, "tuned", seed, 200.0)
    svg = ablation.curves_svg(tmp_path)
    assert svg.count('class="faint') == 5
    assert svg.count('class="band') == 1
    assert svg.count('class="end') == 2
    assert 'aria-label="score while training' in svg
