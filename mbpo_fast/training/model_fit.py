"""A world model fitted to fresh games, half by a trained policy and half by chance, without a run of MBPO."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mbpo_fast.agents import Agent
from mbpo_fast.config import Config, differences, load_config, resolved_yaml
from mbpo_fast.config.strict_yaml import dump_yaml
from mbpo_fast.data import ReplayBuffer
from mbpo_fast.errors import UsageError
from mbpo_fast.models import ModelTrainer
from mbpo_fast.training.build import build_env, build_model, build_replay, set_up_process, uses_graphs
from mbpo_fast.training.checkpoint import CheckpointStore
from mbpo_fast.training.collect import Collector
from mbpo_fast.training.folder_lock import locked
from mbpo_fast.training.fresh_games import by_agent_and_chance
from mbpo_fast.training.policy import CONFIG_FILE, fresh_agent, load_policy, weights_that_fit
from mbpo_fast.training.tensor_file import replace_text

NUM_ENVS = 16
"""Lanes that collect: half of them play by chance."""
LEAST_CAPACITY = 10_000
"""Room for the longest return or rollout that any policy learns from."""
CURVE_FILE = "model_fit.jsonl"
MAY_DIFFER = ("threads", "model.patience")
"""Settings that a fit may go on with; the patience only says that no round ends early."""
Report = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class FitOptions:
    """`steps` agent steps of play are learned from in rounds of `check_every` updates, `updates` at least.

    Half of the lanes play by the agent, with `epsilon` of its actions at random, half by chance.
    """

    steps: int = 50_000
    updates: int = 4_000
    check_every: int = 500
    epsilon: float = 0.05


def fit_model(
    path: Path, run_dir: Path, overrides: dict[str, str], options: FitOptions, report: Report
) -> Path:
    """Fit a world model to play of the policy at `path` and save both as a checkpoint in `run_dir`.

    The settings are the policy's own but for its `model` section, which starts from the defaults;
    `overrides` as in `load_config`. After every round the checkpoint is written anew, and the held-out
    metrics, with `updates` and `cpu_seconds` so far, go to `CURVE_FILE` and to `report`. A fit that is there
    already goes on after its last round, with the weights that it would have had without a stop.
    Returns the checkpoint. UsageError where the folder holds something else or no policy is found.
    """
    policy = load_policy(path)
    config = _config(policy.config, overrides, options)
    cuda_graphs = uses_graphs(config)
    store = CheckpointStore(run_dir / "checkpoints", keep=config.checkpoint.keep)
    saved = _saved(run_dir, store, config, policy.agent, options)
    run_dir.mkdir(parents=True, exist_ok=True)
    with locked(run_dir, "a fit"):
        replace_text(run_dir / CONFIG_FILE, resolved_yaml(config))
        set_up_process(config)
        agent = policy.agent
        replay = _play(config, agent, options)
        model = build_model(config, agent.frame_shape, agent.num_actions, cuda_graphs=cuda_graphs)
        trainer = ModelTrainer(model, seed=config.seed)
        seconds = 0.0
        if saved is not None:
            with weights_that_fit(run_dir):
                model.load_state_dict(saved["trainer"]["parts"]["model"])
            trainer.load_state_dict(saved["fit"]["trainer"])
            seconds = saved["fit"]["cpu_seconds"]
            _cut_curve(run_dir / CURVE_FILE, trainer.batches)
        for metrics in _rounds(trainer, replay, options.updates, seconds):
            parts = {"agent": agent.state_dict(), "model": model.state_dict()}
            fit = {
                "trainer": trainer.state_dict(),
                "options": _fixed(options),
                "cpu_seconds": metrics["cpu_seconds"],
            }
            with (run_dir / CURVE_FILE).open("a", encoding="utf-8") as curve:
                curve.write(json.dumps(metrics) + "\n")
            store.save(len(replay), {"trainer": {"parts": parts}, "fit": fit}, {})
            report(metrics)
    checkpoint = store.latest()
    assert checkpoint is not None
    return checkpoint


def _saved(
    run_dir: Path, store: CheckpointStore, config: Config, agent: Agent, options: FitOptions
) -> dict[str, Any] | None:
    """The state of the fit in `run_dir`, None where there is none yet; UsageError for anything else there."""
    latest = store.latest()
    if latest is None:
        if run_dir.exists() and any(run_dir.iterdir()):
            raise UsageError(f"{run_dir}: expected a new folder or a fit, got one that holds something else")
        return None
    before = load_config([str(run_dir / CONFIG_FILE)], {})
    changed = [key for key, _, _ in differences(before, config) if key not in MAY_DIFFER]
    state = store.load(latest, {})
    if "fit" not in state:
        raise UsageError(f"{run_dir}: expected a new folder or a fit, got a run")
    old, new = state["fit"]["options"], _fixed(options)
    changed += [f"--{name}" for name in new if old[name] != new[name]]
    if changed:
        raise UsageError(
            f"{run_dir} holds a fit with other settings: {', '.join(changed)}; choose another --run"
        )
    player = fresh_agent(before)
    player.load_state_dict(state["trainer"]["parts"]["agent"])
    ours, theirs = agent.policy_state_dict(), player.policy_state_dict()
    if not all(torch.equal(weights, theirs[name]) for name, weights in ours.items()):
        raise UsageError(f"{run_dir} holds a fit to games of another policy; choose another --run")
    return state


def _cut_curve(file: Path, updates: int) -> None:
    """Drop the lines of rounds that no checkpoint has: they are made again."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    replace_text(file, "".join(line for line in lines if json.loads(line)["updates"] <= updates))


def _fixed(options: FitOptions) -> dict[str, float]:
    """What a fit that goes on may not change and its settings do not tell."""
    return {"steps": options.steps, "epsilon": options.epsilon}


def _config(policy: Config, overrides: dict[str, str], options: FitOptions) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        defaults = Path(folder) / CONFIG_FILE
        replace_text(defaults, dump_yaml(_settings(policy, options)))
        return load_config([str(defaults)], overrides)


def _settings(config: Config, options: FitOptions) -> dict[str, Any]:
    """The policy's settings, with a fresh model section, room for all steps and rounds of equal length."""
    content = config.model_dump(mode="json")
    content["model"] = {
        "first_updates": options.check_every,
        "updates": options.check_every,
        "patience": options.updates,
    }
    content["env"] |= {"num_envs": NUM_ENVS, "workers": 0, "clip_reward": True}  # models predict signs
    # Every reset has a row of its own, so that episodes of one step would need as much.
    content["replay"]["capacity"] = max(2 * options.steps, LEAST_CAPACITY)
    # Nobody learns to act here; the settings still have to be those of a run.
    content |= {"cuda_graphs": False}  # of the machine that trained the policy
    content["training"] |= {"real_ratio": 0.5, "learning_starts": 100 * NUM_ENVS}
    return content


def _play(config: Config, agent: Agent, options: FitOptions) -> ReplayBuffer:
    """A replay buffer with `steps` agent steps at most."""
    env = build_env(config)
    try:
        _, height, width = env.stack_shape
        replay = build_replay(config, (height, width))
        collector = Collector(env, replay, window=1)
        collector.start(config.seed)
        while collector.env_steps + env.num_envs <= options.steps:
            collector.step(
                by_agent_and_chance(
                    agent,
                    collector.obs,
                    env.num_envs // 2,
                    seed=config.seed,
                    step=collector.iterations,
                    epsilon=options.epsilon,
                )
            )
        return replay
    finally:
        env.close()


def _rounds(
    trainer: ModelTrainer, replay: ReplayBuffer, updates: int, seconds: float
) -> Iterator[dict[str, float]]:
    """Train until `updates` are made or more; the metrics after every round. `seconds`: spent before."""
    begin = time.process_time() - seconds
    while trainer.batches < updates:
        metrics = trainer.fit(replay)
        if trainer.rounds == 0:
            raise UsageError(f"--steps: expected enough for an episode to train on, got {len(replay)}")
        yield metrics | {"updates": float(trainer.batches), "cpu_seconds": time.process_time() - begin}
