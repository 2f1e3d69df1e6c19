"""A run from its settings to its report: new or resumed, interrupted or finished, then evaluated."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mbpo_fast.config import Config, differences, load_config, resolved_yaml
from mbpo_fast.config.schema import MAY_DIFFER_ON_RESUME
from mbpo_fast.errors import UsageError
from mbpo_fast.training.build import EVALUATION_SEED, final_seed
from mbpo_fast.training.checkpoint import CheckpointStore
from mbpo_fast.training.frozen import play
from mbpo_fast.training.logger import RunLogger
from mbpo_fast.training.loop import Loop, Metrics
from mbpo_fast.training.loops import build_loop
from mbpo_fast.training.machine import machine_info, set_up_process
from mbpo_fast.training.outputs import Outputs
from mbpo_fast.training.policy import CONFIG_FILE, weights_that_fit
from mbpo_fast.training.progress import Progress
from mbpo_fast.training.reports import write_report
from mbpo_fast.training.run_folder import locked, visible_files
from mbpo_fast.training.stop_signals import Stopped, StopSignals
from mbpo_fast.training.tensor_file import replace_text
from mbpo_fast.training.tracking import check_tracking, open_tracker

SUMMARY_FILE = "summary.json"


def train(config: Config, run_dir: Path, *, config_name: str) -> int:
    """Train in `run_dir`, or go on where a run there stopped; returns the process's exit code."""
    set_up_process(config)
    check_folder(config, run_dir)
    check_tracking(config.track)
    with StopSignals() as signals:
        loop = build_loop(config)
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            with locked(run_dir, "a run"):
                return _Run(config, run_dir, loop, config_name, signals).execute()
        finally:
            loop.collector.env.close()


def check_folder(config: Config, run_dir: Path) -> None:
    """Refuse a folder that holds another configuration or something else; nothing is touched."""
    path = run_dir / CONFIG_FILE
    if path.exists():
        changed = [
            f"{key} {old!r} -> {new!r}"
            for key, old, new in differences(load_config([str(path)], {}), config)
            if not key.startswith(MAY_DIFFER_ON_RESUME)
        ]
        if changed:
            raise UsageError(
                f"{run_dir} holds a run of another configuration: {', '.join(changed)}; choose another --run"
            )
    elif run_dir.exists() and (not run_dir.is_dir() or visible_files(run_dir)):
        raise UsageError(f"{run_dir}: expected a new folder or a run, got something else")


class _Run:
    """One call of `train`: the loop's callbacks and what happens after the last step."""

    def __init__(
        self, config: Config, run_dir: Path, loop: Loop, config_name: str, signals: StopSignals
    ) -> None:
        self.config, self.run_dir, self.loop = config, run_dir, loop
        self.config_name, self.signals = config_name, signals
        self.store = CheckpointStore(run_dir / "checkpoints", keep=config.checkpoint.keep)
        self.seconds_before = 0.0
        self.begin = time.perf_counter()
        offset = self._restore()
        replace_text(run_dir / CONFIG_FILE, resolved_yaml(config))
        self.logger = RunLogger(run_dir, tensorboard=config.log.tensorboard, offset=offset)
        self.tracker = open_tracker(config, run_dir)
        self.outputs = Outputs(config, run_dir, loop.agent, self.tracker)
        self.steps_at_log = loop.collector.env_steps
        self.updates_at_log = loop.agent.gradient_steps
        self.time_at_log = self.begin

    def _restore(self) -> int | None:
        latest = self.store.latest()
        if latest is None:
            self.loop.collector.start(self.config.seed)
            return None
        state = self.store.load(latest, self.loop.buffers())
        with weights_that_fit(latest):
            self.loop.load_state_dict(state["trainer"])
        self.seconds_before = float(state["seconds"])
        return int(state["logger"]["offset"])

    def execute(self) -> int:
        """Train, then evaluate and report; an interruption saves and says how to go on."""
        code = 1
        try:
            code = self._execute()
        finally:
            self.logger.close()
            self.tracker.close(code)
        return code

    def _execute(self) -> int:
        if not self.loop.finished():
            # The summary of a shorter run is not this one's.
            (self.run_dir / SUMMARY_FILE).unlink(missing_ok=True)
        with Progress(self.config, start=self.loop.collector.env_steps) as progress:
            self.progress = progress
            if self.loop.opening:
                progress.say(self.loop.opening)
            verdict = self.loop.train(
                on_log=self._log,
                on_save=self._save,
                on_evaluate=self._evaluate_now,
                on_video=lambda: self.outputs.training_video(self.loop.collector.env_steps),
                on_check=progress.fitting,
                interrupted=lambda: self.signals.noted is not None,
            )
        try:
            with self.signals.at_once():
                self._finish(verdict)
        except Stopped:
            print(f"saved at step {self.loop.collector.env_steps}; the same command goes on from there")
        return self.signals.exit_code

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.begin

    def _log(self, step: int, metrics: Metrics) -> None:
        now = time.perf_counter()
        frames = step * self.loop.collector.env.frame_skip
        metrics |= {"time/total_timesteps": float(step), "time/frames": float(frames)}
        metrics["time/time_elapsed"] = self._seconds()
        if step > self.steps_at_log:
            seconds, updates = now - self.time_at_log, self.loop.agent.gradient_steps
            metrics["time/fps"] = (step - self.steps_at_log) / seconds
            metrics["time/updates_per_second"] = (updates - self.updates_at_log) / seconds
            self.steps_at_log, self.updates_at_log, self.time_at_log = step, updates, now
        metrics |= {f"time/phase_{phase}": seconds for phase, seconds in self.loop.timer.take().items()}
        self.logger.log(step, metrics)
        self.tracker.log(step, metrics)
        self.progress.update(step, metrics, self.loop.gate_verdict)

    def _save(self, step: int) -> None:
        if step in self.store.steps():
            return
        state = {
            "trainer": self.loop.state_dict(),
            "logger": self.logger.state_dict(),
            "seconds": self._seconds(),
        }
        self.store.save(step, state, self.loop.buffers())

    def _evaluate_now(self) -> Metrics:
        try:
            with self.signals.at_once():
                result = play(
                    self.config,
                    self.loop.agent,
                    episodes=self.config.evaluation.episodes,
                    seed=self.config.seed + EVALUATION_SEED,
                )
        except Stopped:
            return {}  # its games would outlast a scheduler's patience
        self.outputs.evaluated(self.loop.collector.env_steps, result)
        return {"eval/mean_reward": result.mean, "eval/mean_ep_length": float(np.mean(result.lengths))}

    def _finish(self, verdict: str) -> None:
        """Final evaluation, random baseline, video, summary and report."""
        summary = self._summary(verdict)
        evaluation = self.config.evaluation
        seed = final_seed(self.config)
        if evaluation.final_episodes:
            summary["agent"] = self._play_final(evaluation.epsilon, seed)
            if evaluation.random_baseline:
                summary["random"] = self._play_final(1.0, seed)
        self.outputs.finished(summary["env_steps"], seed, summary.get("agent"))
        self.tracker.log(summary["env_steps"], _final_metrics(summary))
        summary["wall_seconds"] = self._seconds()
        replace_text(self.run_dir / SUMMARY_FILE, json.dumps(summary, indent=1) + "\n")
        report = write_report(self.run_dir)
        _print_summary(summary, report)

    def _play_final(self, epsilon: float, seed: int) -> dict[str, Any]:
        episodes = self.config.evaluation.final_episodes
        who = "random actions" if epsilon == 1.0 else f"the frozen agent, epsilon {epsilon:g}"
        print(f"evaluating {who}: {episodes} whole games", flush=True)
        return play(self.config, self.loop.agent, episodes=episodes, seed=seed, epsilon=epsilon).to_dict()

    def _summary(self, verdict: str) -> dict[str, Any]:
        collector = self.loop.collector
        return {
            "config": self.config_name,
            "env_id": self.config.env.id,
            "algorithm": self.config.algorithm,
            "seed": self.config.seed,
            "env_steps": collector.env_steps,
            "frames": collector.env_steps * collector.env.frame_skip,
            "gradient_steps": self.loop.agent.gradient_steps,
            "stopped": verdict,
            **self.loop.summary(),
            "machine": machine_info(),
        }


def _final_metrics(summary: Mapping[str, Any]) -> Metrics:
    """The evaluation after training, for trackers: the runs of a sweep are compared by it."""
    return {f"final/{who}_mean_reward": summary[who]["mean"] for who in ("agent", "random") if who in summary}


def _print_summary(summary: Mapping[str, Any], report: Path) -> None:
    for who in ("agent", "random"):
        if who in summary:
            low, high = summary[who]["ci95"]
            print(
                f"{who}: mean {summary[who]['mean']:.1f} over {summary[who]['episodes']} games, "
                f"95 % interval {low:.1f} to {high:.1f}, {summary[who]['distinct_games']} distinct games"
            )
    rows = summary["synthetic_rows"] + summary["real_rows"]
    share = summary["synthetic_rows"] / rows if rows else 0.0
    print(
        f"{summary['env_steps']} steps in {summary['wall_seconds']:.0f} s, {share:.0%} synthetic "
        f"rows; {report}"
    )
