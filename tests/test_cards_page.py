"""The tables and the curves of report cards, from made-up ones."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import cards

    return cards


def write_card(
    results: Path, name: str, env_id: str, *, changed: float = 0.5, f1: float = 0.5, arch: str = "clock"
) -> None:
    errors = {"changed_error_ratio": changed, "frame_error_ratio": changed}
    ensemble: dict[str, Any] = {
        "errors": {"1": errors, "5": errors},
        "reward": {"f1": f1, "precision": 0.5, "recall": None},
        "end": {"pr_auc": 0.61},
        "action_sensitivity": {"changed_few": 1.3},
    }
    curve = [{"cpu_seconds": 60.0 * k, "changed_error_ratio": 1 / k, "reward_f1": 0.1 * k} for k in (1, 2, 3)]
    card = {
        "env_id": env_id,
        "model": {"arch": arch, "run_seed": 4, "members": 5, "gradient_steps": 3000},
        "card": {
            "ensemble": ensemble,
            "members": [{"reward": {"f1": said}} for said in (0.25, 0.125, None, 0.375)],
            "disagreement": {"frame": 0.35},
        },
        "training": {"cpu_minutes": 3.2, "curve": curve},
    }
    (results / f"{name}.json").write_text(json.dumps(card))


def test_what_misses_its_goal_is_bold_and_only_where_the_goal_counts(
    cards: ModuleType, tmp_path: Path
) -> None:
    write_card(tmp_path, "b", "SpaceInvadersNoFrameskip-v4", changed=0.75, f1=0.6996)
    write_card(tmp_path, "c", "SpaceInvadersNoFrameskip-v4", arch="nature")
    write_card(tmp_path, "a", "PongNoFrameskip-v4", changed=0.9999, f1=0.2)
    tables = cards.tables(tmp_path)
    header, rows = tables["cards"]
    assert header == "| figure | goal | `clock`, seed 4 | `nature`, seed 4 |"
    assert rows[0] == "| changed pixels, 1 step | at most 0.7 | **0.750** | 0.500 |"
    assert rows[1] == "| changed pixels, 5 steps | below 1 | 0.750 | 0.500 |"
    assert rows[2] == "| changed pixels, 10 steps |  | - | - |"
    assert "| reward F1 | at least 0.7 | **0.700** (0.125 to 0.375) | **0.500** (0.125 to 0.375) |" in rows, (
        "rounding makes no goal"
    )
    assert rows[-2:] == ["| updates |  | 3,000 | 3,000 |", "| CPU minutes |  | 3 | 3 |"]
    header, rows = tables["cards_elsewhere"]
    assert header == "| figure | goal | Pong, `clock`, seed 4 |"
    assert rows[0] == "| changed pixels, 1 step | below 1 | **1.000** |"
    assert rows[1] == "| changed pixels, 5 steps | below 1 | **1.000** |"
    assert "| reward F1 |  | 0.200 (0.125 to 0.375) |" in rows
    assert "| disagreement against error, whole frame |  | 0.350 |" in rows
    assert "| reward F1 of what rollouts decide |  | - |" in rows


def test_each_fit_has_a_curve_in_each_picture_and_each_kind_a_colour(
    cards: ModuleType, tmp_path: Path
) -> None:
    for name in "ab":
        write_card(tmp_path, name, "SpaceInvadersNoFrameskip-v4")
    write_card(tmp_path, "c", "SpaceInvadersNoFrameskip-v4", arch="nature")
    pictures = cards.curves(tmp_path)
    assert set(pictures) == {"card-changed", "card-reward"}
    for svg in pictures.values():
        assert [svg.count(f'<polyline class="c{paint}"') for paint in (1, 2, 3)] == [2, 1, 0]
        assert [svg.count(f'class="end t{paint}"') for paint in (1, 2)] == [1, 1]
        assert "CPU minutes" in svg


def test_a_cards_file_has_how_the_model_was_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import card_file

    curve = [{"step": 50 * k, "updates": 50.0 * k, "cpu_seconds": 90.0 * k} for k in (1, 2)]
    (tmp_path / card_file.CURVE_FILE).write_text("".join(json.dumps(row) + "\n" for row in curve))
    card = {"card": {"rows": 7}, "model": {"gradient_steps": 100}, "video": "/of/a/machine.mp4"}
    told = {"command": "mbpo-fast model-fit POLICY", "policy": "PPO", "commit": "abc"}
    assert card_file.card_of(tmp_path, card, **told) == {
        "card": {"rows": 7},
        "model": {"gradient_steps": 100},
        "training": {**told, "cpu_minutes": 3.0, "curve": curve},
    }
    with pytest.raises(ValueError, match="expected a card of 100 updates, got one of 50"):
        card_file.card_of(tmp_path, card | {"model": {"gradient_steps": 50}}, **told)
