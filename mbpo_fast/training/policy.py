"""A trained policy by itself: read from a run, a checkpoint or a policy folder, and written as such a folder.

FOLDER/README.md           the model card
FOLDER/config.json         settings, origin, evaluation, and the size and sha256 of the weights
FOLDER/model.safetensors   the weights of the network that acts
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError

from mbpo_fast import __version__
from mbpo_fast.agents import Agent
from mbpo_fast.config import Config, load_config
from mbpo_fast.errors import UsageError
from mbpo_fast.training.build import build_agent, build_eval_env
from mbpo_fast.training.checkpoint import CheckpointStore
from mbpo_fast.training.manifest import read_manifest
from mbpo_fast.training.model_card import model_card
from mbpo_fast.training.tensor_file import (
    FileEntry,
    damage,
    read_tensors,
    sync_folder,
    write_json,
    write_tensors,
)

CONFIG_FILE = "config.yaml"
CARD, DESCRIPTION, WEIGHTS = "README.md", "config.json", "model.safetensors"
FORMAT, FORMAT_VERSION = "mbpo_fast policy", 1


@dataclass(frozen=True)
class Policy:
    """A frozen learner with its settings and where it comes from; `evaluation` as in `Evaluation`."""

    config: Config
    agent: Agent
    env_steps: int
    evaluation: Mapping[str, Any] | None = None


def load_policy(path: Path) -> Policy:
    """The policy of a run's newest checkpoint, of one checkpoint folder, or of a policy folder.

    UsageError where there is none of them, no checkpoint yet, or a damaged file.
    """
    if (_present(path) / DESCRIPTION).exists():
        return _from_policy_folder(_present(path))
    saved = read_checkpoint(path)
    agent = fresh_agent(saved.config)
    with weights_that_fit(path):
        agent.load_state_dict(saved.parts["agent"])
    return Policy(saved.config, agent, saved.env_steps, _final_evaluation(saved.run_dir, saved.env_steps))


@dataclass(frozen=True)
class Saved:
    """A checkpoint without its buffers; `parts` is `Parts.state_dict`."""

    config: Config
    run_dir: Path
    env_steps: int
    parts: Mapping[str, Any]


def read_checkpoint(path: Path) -> Saved:
    """A run's newest checkpoint, or one checkpoint folder; UsageError as in `load_policy`."""
    checkpoint = path if (path / "manifest.json").exists() else None
    run_dir = path.resolve().parent.parent if checkpoint else path
    if not (run_dir / CONFIG_FILE).exists():
        raise UsageError(f"{path}: expected a run, a checkpoint or a policy folder, found no config.yaml")
    config = load_config([str(run_dir / CONFIG_FILE)], {})
    store = CheckpointStore(run_dir / "checkpoints", keep=config.checkpoint.keep)
    checkpoint = checkpoint or store.latest()
    if checkpoint is None:
        raise UsageError(f"{path}: expected a checkpoint, found none yet")
    state = store.load(checkpoint, {})
    return Saved(config, run_dir, read_manifest(checkpoint).step, state["trainer"]["parts"])


@contextmanager
def weights_that_fit(path: Path) -> Iterator[None]:
    """Around loading a checkpoint: a UsageError where its networks had other shapes, in another version."""
    try:
        yield
    except RuntimeError as error:
        if "loading state_dict" not in str(error):
            raise
        raise UsageError(
            f"{path}: expected weights for the networks of mbpo_fast {__version__}, got others"
        ) from None


def save_policy(policy: Policy, folder: Path) -> Path:
    """Write a policy folder as a whole or not at all; one that is there is replaced.

    UsageError when `folder` holds something else.
    """
    if folder.resolve() == Path.cwd():
        raise UsageError(f"{folder}: expected a new folder or a policy folder, got the current one")
    _recover(folder)
    if folder.exists() and not _is_replaceable(folder):
        raise UsageError(f"{folder}: expected a new folder or a policy folder, got something else")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        leaves = {name: x.contiguous() for name, x in policy.agent.policy_state_dict().items()}
        weights = write_tensors(aside / WEIGHTS, leaves)
        description = _description(policy, weights)
        write_json(aside / DESCRIPTION, description)
        (aside / CARD).write_text(model_card(policy.config, description), encoding="utf-8")
        _replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def read_description(folder: Path) -> dict[str, Any]:
    """What config.json of a policy folder says, once the weights are what it says they are."""
    folder = _present(folder)
    path = folder / DESCRIPTION
    try:
        description: dict[str, Any] = json.loads(path.read_bytes())
        kind, version = description["format"], description["format_version"]
        weights = FileEntry(**description["weights"])
    except FileNotFoundError:
        raise UsageError(f"{folder}: expected a policy folder, found no {DESCRIPTION}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UsageError(f"{path}: not the description of a policy") from None
    if (kind, version) != (FORMAT, FORMAT_VERSION):
        raise UsageError(f"{path}: expected {FORMAT!r} version {FORMAT_VERSION}, got {kind!r} {version!r}")
    problem = damage(folder / WEIGHTS, weights)
    if problem:
        raise UsageError(f"{folder / WEIGHTS}: {problem}")
    return description


def _from_policy_folder(folder: Path) -> Policy:
    description = read_description(folder)
    try:
        # JSON's strict mode: a list is a tuple, but "1" is no number.
        config = Config.model_validate_json(json.dumps(description["settings"]), strict=True)
        step = int(description["env_steps"])
        evaluation = description.get("evaluation")
    except (ValidationError, KeyError, TypeError, ValueError):
        made_by = description.get("mbpo_fast")
        raise UsageError(
            f"{folder / DESCRIPTION}: expected settings of mbpo_fast {__version__}, got those of {made_by}"
        ) from None
    agent = fresh_agent(config)
    try:
        agent.load_policy_state_dict(read_tensors(folder / WEIGHTS))
    except (RuntimeError, KeyError, SafetensorError):
        raise UsageError(f"{folder / WEIGHTS}: expected the weights of these settings, got others") from None
    return Policy(config, agent, step, evaluation)


def fresh_agent(config: Config) -> Agent:
    """The learner of these settings before its first update."""
    env = build_eval_env(config, num_envs=1)
    try:
        return build_agent(config, env)
    finally:
        env.close()


def _description(policy: Policy, weights: FileEntry) -> dict[str, Any]:
    config = policy.config
    settings = config.model_dump(mode="json")
    # They belong to the machine that trained, not to the one that plays.
    settings |= {"device": "auto", "threads": None, "cuda_graphs": False}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "mbpo_fast": __version__,
        "env_id": config.env.id,
        "algorithm": config.algorithm,
        "env_steps": policy.env_steps,
        "gradient_steps": policy.agent.gradient_steps,
        "weights": weights._asdict(),
        "evaluation": dict(policy.evaluation) if policy.evaluation else None,
        "settings": settings,
    }


def _final_evaluation(run_dir: Path, step: int) -> Mapping[str, Any] | None:
    """The evaluation after training, when it was of this step's policy."""
    try:
        summary = json.loads((run_dir / "summary.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return summary.get("agent") if summary.get("env_steps") == step else None


def _is_replaceable(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    return not names or (DESCRIPTION in names and names <= {CARD, DESCRIPTION, WEIGHTS})


def _replace(aside: Path, folder: Path) -> None:
    old = _old(folder)
    shutil.rmtree(old, ignore_errors=True)
    sync_folder(aside)
    if folder.exists():
        folder.rename(old)
    aside.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _old(folder: Path) -> Path:
    return folder.with_name(f".tmp-old-{folder.name}")


def _present(folder: Path) -> Path:
    """Where the policy lies: aside while its place is being taken, or since that was killed.

    Only who saves puts it back: another process may be between its two renames.
    """
    return _old(folder) if not folder.exists() and _old(folder).exists() else folder


def _recover(folder: Path) -> None:
    """Put back a policy whose process was killed between making room and taking the place."""
    if not folder.exists() and _old(folder).exists():
        _old(folder).rename(folder)
