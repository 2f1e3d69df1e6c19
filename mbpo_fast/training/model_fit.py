"""A world model fitted to fresh games, half by a trained policy and half by chance, without a run of MBPO."""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mbpo_fast.agents import Agent
from mbpo_fast.config import Config, differences, load_config, resolved_yaml
from mbpo_fast.data import ReplayBuffer
from mbpo_fast.errors import UsageError
from mbpo_fast.models import ModelTrainer
from mbpo_fast.training.build import build_env, build_model, uses_graphs
from mbpo_fast.training.build_buffers import build_replay
from mbpo_fast.training.checkpoint import CheckpointStore
from mbpo_fast.training.collect import Collector
from mbpo_fast.training.fit_settings import FitOptions, fit_config
from mbpo_fast.training.fresh_games import by_agent_and_chance
from mbpo_fast.training.logger import RunLogger
from mbpo_fast.training.machine import set_up_process
from mbpo_fast.training.policy import CONFIG_FILE, fresh_agent, load_policy, weights_that_fit
from mbpo_fast.training.run_folder import locked, visible_files
from mbpo_fast.training.tensor_file import replace_text

CURVE_FILE = "model_fit.jsonl"
CHECKPOINTS = "checkpoints"
DIGEST_SLOTS = 256
"""So many slots of a replay buffer are copied at once for their fingerprint."""
MAY_DIFFER = ("threads", "model.patience", "checkpoint")
"""Settings that a fit may go on with; the patience only says that no round ends early."""
Report = Callable[[dict[str, float]], None]


def fit_model(
    path: Path, run_dir: Path, overrides: dict[str, str], options: FitOptions, report: Report
) -> Path:
    """Fit a world model to play of the policy at `path` and save both as a checkpoint in `run_dir`.

    The settings are those of `fit_config`. After every round the checkpoint is written anew, and the held-out
    metrics, with `updates` and `cpu_seconds` so far, go to `CURVE_FILE` and to `report`. A fit that is there
    already goes on after its last round, with the weights that it would have had without a stop.
    Returns the checkpoint. UsageError where the folder holds something else or no policy is found.
    """
    policy = load_policy(path)
    config = fit_config(policy.config, overrides, options)
    cuda_graphs = uses_graphs(config)
    store = CheckpointStore(run_dir / CHECKPOINTS, keep=config.checkpoint.keep)
    saved = _saved(run_dir, store, config, policy.agent, options)
    run_dir.mkdir(parents=True, exist_ok=True)
    with locked(run_dir, "a fit"):
        replace_text(run_dir / CONFIG_FILE, resolved_yaml(config))
        if saved is None or saved["trainer"]["batches"] < options.updates:
            set_up_process(config)
            replay = _play(config, policy.agent, options)
            model = build_model(
                config, policy.agent.frame_shape, policy.agent.num_actions, cuda_graphs=cuda_graphs
            )
            trainer = ModelTrainer(model, seed=config.seed)
            _Fit(run_dir, store, policy.agent, replay, trainer, options).go_on(saved, report)
    checkpoint = store.latest()
    assert checkpoint is not None
    return checkpoint


class _Fit:
    """Rounds over one replay buffer, each with its checkpoint and its line of the curve."""

    def __init__(
        self,
        run_dir: Path,
        store: CheckpointStore,
        agent: Agent,
        replay: ReplayBuffer,
        trainer: ModelTrainer,
        options: FitOptions,
    ) -> None:
        self.run_dir, self.store, self.agent = run_dir, store, agent
        self.replay, self.trainer, self.options = replay, trainer, options
        self.games = _digest(replay)

    def go_on(self, saved: dict[str, Any] | None, report: Report) -> None:
        """From the state of the last checkpoint, or from the beginning, to the end."""
        offset, seconds = (saved["offset"], saved["cpu_seconds"]) if saved else (None, 0.0)
        if saved:
            self._restore(saved)
        logger = RunLogger(self.run_dir, tensorboard=False, offset=offset, name=CURVE_FILE)
        try:
            for metrics in self._rounds(seconds):
                logger.log(int(metrics["updates"]), metrics)
                self._save(metrics["cpu_seconds"], logger.state_dict()["offset"])
                report(metrics)
        finally:
            logger.close()

    def _restore(self, saved: dict[str, Any]) -> None:
        if saved["games"] != self.games:
            raise UsageError(
                f"{self.run_dir} holds a fit to games that came out otherwise, as on another processor or "
                "with other threads; choose another --run"
            )
        with weights_that_fit(self.run_dir):
            self.trainer.model.load_state_dict(saved["model"])
        self.trainer.load_state_dict(saved["trainer"])

    def _rounds(self, seconds: float) -> Iterator[dict[str, float]]:
        """Train until all updates are made; the metrics after every round. `seconds`: spent before."""
        begin = time.process_time() - seconds
        while self.trainer.batches < self.options.updates:
            metrics = self.trainer.fit(self.replay)
            if self.trainer.rounds == 0:
                few = len(self.replay)
                raise UsageError(f"--steps: expected enough for an episode to train on, got {few}")
            yield metrics | {
                "updates": float(self.trainer.batches),
                "cpu_seconds": time.process_time() - begin,
            }

    def _save(self, seconds: float, offset: int) -> None:
        parts = {"agent": self.agent.state_dict(), "model": self.trainer.model.state_dict()}
        fit = {
            "trainer": self.trainer.state_dict(),
            "options": self.options.fixed(),
            "games": self.games,
            "cpu_seconds": seconds,
            "offset": offset,
        }
        self.store.save(len(self.replay), {"trainer": {"parts": parts}, "fit": fit}, {})


def _saved(
    run_dir: Path, store: CheckpointStore, config: Config, agent: Agent, options: FitOptions
) -> dict[str, Any] | None:
    """The state of the fit in `run_dir`, None where there is none yet; UsageError for anything else there."""
    latest = store.latest()
    if latest is None:
        _check_new(run_dir)
    if not (run_dir / CONFIG_FILE).exists():
        if latest:
            raise UsageError(
                f"{run_dir}: expected a new folder or a fit, got checkpoints without {CONFIG_FILE}"
            )
        return None
    before = load_config([str(run_dir / CONFIG_FILE)], {})
    changed = [key for key, _, _ in differences(before, config) if not key.startswith(MAY_DIFFER)]
    state = store.load(latest, {}) if latest else {}
    fit: dict[str, Any] = state.get("fit", {})
    if latest and "games" not in fit:
        raise UsageError(f"{run_dir}: expected a new folder or a fit of this version, got something else")
    asked = options.fixed()
    changed += [f"--{name}" for name, old in fit.get("options", {}).items() if asked[name] != old]
    if changed:
        raise UsageError(
            f"{run_dir} holds a fit with other settings: {', '.join(changed)}; choose another --run"
        )
    if not latest:
        return None
    parts = state["trainer"]["parts"]
    if not _same_policy(agent, before, parts["agent"]):
        raise UsageError(f"{run_dir} holds a fit to games of another policy; choose another --run")
    return fit | {"model": parts["model"]}


def _check_new(run_dir: Path) -> None:
    # A fit that was stopped while it played, or in its first round, has left no more than these.
    left = (CONFIG_FILE, CURVE_FILE, CHECKPOINTS)
    if run_dir.exists() and (
        not run_dir.is_dir() or any(file.name not in left for file in visible_files(run_dir))
    ):
        raise UsageError(f"{run_dir}: expected a new folder or a fit, got one that holds something else")


def _same_policy(agent: Agent, config: Config, state: dict[str, Any]) -> bool:
    player = fresh_agent(config)
    player.load_state_dict(state)
    ours, theirs = agent.policy_state_dict(), player.policy_state_dict()
    return all(torch.equal(weights, theirs[name]) for name, weights in ours.items())


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


def _digest(replay: ReplayBuffer) -> str:
    """A fingerprint of the games: everything that the buffer holds."""
    digest = hashlib.sha256()
    for begin in range(replay.oldest, replay.total, DIGEST_SLOTS):
        columns = replay.export(begin, min(begin + DIGEST_SLOTS, replay.total))
        for name in sorted(columns):
            digest.update(np.ascontiguousarray(columns[name]).data)
    return digest.hexdigest()
