"""docs/logging.md lists the tags that a run writes: all of them, and no others."""

import json
import re
from pathlib import Path

import pytest

from mbpo_fast.config import load_config
from mbpo_fast.training.run import train

DOCS = Path(__file__).parents[2] / "docs" / "logging.md"
TINY = {
    "threads": "1",
    "training.total_steps": "400",
    "training.learning_starts": "200",
    "model.first_updates": "4",
    "model.updates": "2",
    "model.check_every": "2",
    "model.uncertainty.measure": "true",
    "agent.spr_steps": "2",
    "training.updates_per_step": "0.1",
    "evaluation.every": "150",
    "evaluation.episodes": "2",
    "evaluation.num_envs": "2",
    "evaluation.final_episodes": "0",
    "checkpoint.every": "150",
    "log.every": "100",
    "video.every": "10",
    "video.final": "false",
}


def documented() -> dict[str, tuple[str, str]]:
    """Tag -> (unit, meaning) of the table."""
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]*) \| ([^|]*) \|$", DOCS.read_text(encoding="utf-8"), re.M)
    assert len({tag for tag, _, _ in rows}) == len(rows), "a tag has two rows"
    return {tag: (unit.strip(), meaning.strip()) for tag, unit, meaning in rows}


PPO = {
    "env.id": "Catch",
    "threads": "1",
    "agent.hidden": "16",
    "agent.rollout_steps": "16",
    "training.total_steps": "200",
    "evaluation.final_episodes": "0",
    "log.every": "100",
    "video.every": "0",
    "video.final": "false",
}


def ppo_tags(folder: Path) -> set[str]:
    assert train(load_config(["ppo"], PPO), folder, config_name="ppo") == 0
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {tag for line in lines for tag in json.loads(line)} - {"step"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_list_is_what_a_run_writes(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert train(load_config(["debug"], TINY), tmp_path / "run", config_name="debug") == 0
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    ppo = ppo_tags(tmp_path / "ppo")
    assert {"train/policy_gradient_loss", "train/explained_variance"} <= ppo
    assert sorted(ppo | set(events.Tags()["scalars"])) == sorted(documented())
    assert {tag for tag, (_, meaning) in documented().items() if meaning.startswith("PPO: ")} <= ppo
    for tag in ("data/replay_fill", "data/model_buffer_fill", "data/synthetic_share"):
        assert all(0 <= event.value <= 1 for event in events.Scalars(tag))
    assert events.Scalars("data/replay_fill")[0].value > 0
    assert events.Scalars("time/updates_per_second")[-1].value > 0
    assert sorted((tmp_path / "run" / "videos").glob("train_*"))
    assert len(list((tmp_path / "run" / "videos").glob("eval_*"))) == 2


def test_every_tag_has_a_unit_and_a_meaning() -> None:
    assert all(unit and meaning for unit, meaning in documented().values())
