"""What a run would do, without doing it."""

from pathlib import Path

import torch

from mbpo_fast.agents import PPOConfig
from mbpo_fast.config import Config
from mbpo_fast.data.placement import place_frames
from mbpo_fast.envs.registry import parse_env_id
from mbpo_fast.errors import UsageError
from mbpo_fast.training.build import uses_graphs
from mbpo_fast.training.checkpoint import CheckpointStore
from mbpo_fast.training.machine import pick_device, thread_count
from mbpo_fast.training.networks import describe_networks
from mbpo_fast.training.run import check_folder
from mbpo_fast.training.tracking import check_tracking


def describe_run(config: Config, run_dir: Path) -> list[tuple[str, str]]:
    """(name, value) rows for people: folder, beginning, game, learner, budget, device.

    Makes the checks that a run makes before its first step and touches nothing: UsageError for an unknown
    game, an absent device, frames that the networks cannot take, or a folder that holds something else.
    """
    check_folder(config, run_dir)
    check_tracking(config.track)
    parse_env_id(config.env.id)
    device = pick_device(config.device)
    uses_graphs(config)
    _check_placements(config, device)
    describe_networks(config)
    evaluation = config.evaluation
    return [
        ("run folder", str(run_dir)),
        ("begins", _beginning(config, run_dir)),
        ("game", f"{config.env.id}, {config.env.num_envs} side by side"),
        ("learner", config.agent.kind),
        ("model", _model(config)),
        ("steps", _steps(config)),
        ("updates", f"about {_updates(config):,.0f} of the policy"),
        ("stops early", _early_end(config)),
        ("afterwards", f"{evaluation.final_episodes} whole games by the frozen policy"),
        ("device", f"{device}, {thread_count(config)} CPU threads"),
    ]


def _check_placements(config: Config, device: torch.device) -> None:
    """What a run finds out when it builds its parts: nothing can lie or imagine on a GPU that is not used."""
    if device.type == "cuda":
        return
    place_frames(config.replay.device, networks=device.type, index=None, nbytes=0)
    imagines = config.training.real_ratio < 1 and config.model.kind == "learned"
    if imagines and config.rollout.backend == "cuda":
        raise UsageError(f"rollout.backend: cuda expects networks on a GPU, got device {device.type}")


def _early_end(config: Config) -> str:
    stopping = config.early_stopping
    if not stopping.enabled:
        return "no"
    return f"at a mean score of {stopping.target_reward:g} over the last {stopping.window_size} games"


def _beginning(config: Config, run_dir: Path) -> str:
    latest = CheckpointStore(run_dir / "checkpoints", keep=config.checkpoint.keep).latest()
    return f"from {latest.name}" if latest else "at step 0"


def _steps(config: Config) -> str:
    training = config.training
    if isinstance(config.agent, PPOConfig):
        return f"{training.total_steps:,}, all by the policy"
    return f"{training.total_steps:,}, the first {training.learning_starts:,} by random actions"


def _updates(config: Config) -> float:
    training, agent = config.training, config.agent
    if isinstance(agent, PPOConfig):
        rollouts = training.total_steps // (config.env.num_envs * agent.rollout_steps)
        return rollouts * agent.epochs * agent.minibatches
    return max(0, training.total_steps - training.learning_starts) * training.updates_per_step


def _model(config: Config) -> str:
    real_ratio = config.training.real_ratio
    if real_ratio == 1:
        return "none: all rows are real"
    if config.model.kind == "oracle":
        return f"the emulator itself, {100 * real_ratio:g} % of the rows stay real"
    gate = "always open" if config.model.gate.mode == "off" else "opened by a check on held-out games"
    return f"{config.model.ensemble_size} networks, {100 * real_ratio:g} % of the rows stay real, gate {gate}"
