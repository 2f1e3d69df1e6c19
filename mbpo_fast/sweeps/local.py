"""The local engine: trials as processes on this machine, as many at once as fit, resumable at any moment."""

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mbpo_fast.errors import UsageError
from mbpo_fast.sweeps.arguments import check_settings, option_words
from mbpo_fast.sweeps.folder import claimed, remembered
from mbpo_fast.sweeps.hyperband import should_stop
from mbpo_fast.sweeps.resources import default_jobs, gpus
from mbpo_fast.sweeps.results import Row, aligned, over_seeds, table, words, write_csv
from mbpo_fast.sweeps.schema import Sweep
from mbpo_fast.sweeps.space import Point, settings_at
from mbpo_fast.sweeps.study import Study, require_optuna
from mbpo_fast.sweeps.trial import SAVED, TRAIN, Trial
from mbpo_fast.sweeps.view import View
from mbpo_fast.training.machine import available_cores
from mbpo_fast.training.stop_signals import StopSignals

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

POLL_SECONDS = 0.2
PRUNE_SECONDS = 2.0
"""How often the running trials' metrics are read, for the table and for early termination."""
_FIRST_FAILURES = 3


def run_local(sweep: Sweep, folder: Path, jobs: int | None = None, train: Sequence[str] = TRAIN) -> int:
    """Run a sweep, or go on with the one in `folder`; returns the process's exit code.

    0: every trial is done; 1: some failed; 75 or 130: stopped, the same command goes on. `train`: the
    command that trains; the options of a trial are put after it.
    """
    require_optuna()
    if sweep.limit is None:
        raise UsageError(f"{sweep.file}: method {sweep.method} expects run_cap, or --count")
    configs = check_settings(sweep)
    with claimed(folder, sweep):
        fixed = any(axis.name == "threads" for axis in sweep.axes) or configs[0].threads is not None
        jobs = jobs or min(default_jobs(config, sweep.limit) for config in configs)
        threads = None if fixed else remembered(folder, "threads", max(1, available_cores() // jobs))
        own = () if threads is None else (f"--threads={threads}",)
        return _Local(sweep, folder, jobs, [*train, *own, *sweep.options], gpus(configs[0])).execute()


class _Local:
    """One call of `run_local`."""

    def __init__(
        self, sweep: Sweep, folder: Path, jobs: int, command: Sequence[str], devices: Sequence[str]
    ) -> None:
        self.sweep, self.folder, self.jobs = sweep, folder, jobs
        self.command, self.devices = command, devices
        self.study = Study(folder, sweep)
        self.waiting = [self._trial_of(record) for record in self.study.trials("running")]
        self.running: list[Trial] = []
        self.view = View()
        self.failures: list[str] = []
        self.signals = StopSignals(self._stop_trials)
        self.histories: dict[int, list[float]] = {}
        self.reached = any(sweep.metric.reached(t.value or 0.0) for t in self.study.trials("complete"))
        self.enough = self.reached
        self.looked_at = 0.0

    def execute(self) -> int:
        """Start, watch and judge trials until none is left or somebody stops it."""
        going_on = f"; {len(self.study.trials())} begun before" if self.study.trials() else ""
        self.view.line(
            f"sweep {self.sweep.name}: {self.sweep.limit} trials, {self.jobs} at a time, "
            f"in {self.folder}{going_on}"
        )
        with self.view, self.signals:
            try:
                while self._step():
                    time.sleep(POLL_SECONDS)
            except BaseException as error:
                # A second Ctrl-C ends all at once; from anything else the trials save themselves.
                last = signal.SIGKILL if isinstance(error, KeyboardInterrupt) else signal.SIGTERM
                for trial in self.running:
                    trial.send(last)
                raise
        if self.reached and self.signals.noted is None:
            self._close_interrupted()
        self._print_results()
        return self._exit_code()

    def _close_interrupted(self) -> None:
        """Judge the trials that nobody goes on with, for the target is reached; those that still run stay."""
        for record in self.study.trials("running"):
            trial = self._trial_of(record)
            if trial.finished():  # the sweep was killed between its end and its entry in the journal
                self._complete(trial)
            elif trial.poll() is not None:
                self.study.finish(record.number, "pruned")
                self._report(trial, "does not go on: the target is reached")

    def _step(self) -> bool:
        for process in list(self.running):
            # Somebody else's process, left from a sweep that was killed, is not waited for when we stop.
            code = 75 if self.signals.noted is not None and process.adopted else process.poll()
            if code is not None:
                self.running.remove(process)
                self.histories.pop(process.number, None)
                self._judge(process, code)
        while not self.enough and self.signals.noted is None and len(self.running) < self.jobs:
            trial = self._next()
            if trial is None:
                break
            self._start(trial)
        if time.monotonic() - self.looked_at > PRUNE_SECONDS:
            self.looked_at = time.monotonic()
            self._prune()
            if self.view.live:
                self.view.show(self._title(), table(self.sweep, self._rows()))
        return bool(self.running)

    def _next(self) -> Trial | None:
        """An interrupted trial if there is one, else a new one, which is in the journal before it starts."""
        if self.waiting:
            return self.waiting.pop(0)
        point = self.study.next_point()
        return None if point is None else self._trial(self.study.start(point), point)

    def _trial_of(self, record: "FrozenTrial") -> Trial:
        return self._trial(record.number, record.params)

    def _trial(self, number: int, point: Point) -> Trial:
        return Trial(self.folder, number, settings_at(self.sweep.axes, point))

    def _history(self, record: "FrozenTrial") -> list[float]:
        """Of a trial's metric; one that does not run is read once."""
        if record.number not in self.histories:
            self.histories[record.number] = self._trial_of(record).history(self.sweep.metric.name)
        return self.histories[record.number]

    def _start(self, trial: Trial) -> None:
        if trial.finished():  # the sweep was killed between its end and its entry in the journal
            self._judge(trial, 0)
            return
        environment = {}
        if self.devices:
            taken = [other.device for other in self.running]
            trial.device = min(self.devices, key=taken.count)
            environment["CUDA_VISIBLE_DEVICES"] = trial.device
        verb = "goes on" if trial.run_dir.exists() else "starts"
        command = [*self.command, *option_words(trial.settings), f"--run={trial.run_dir}"]
        if not trial.start(command, environment):
            verb = "still runs"
        self.running.append(trial)
        if self.signals.noted is not None:  # it came while the process was started
            trial.send(signal.SIGTERM)
        self.view.line(f"trial {trial.number} {verb}: {words(self.sweep, trial.settings)}")

    def _judge(self, trial: Trial, code: int) -> None:
        """Note how a trial ended; one that was interrupted stays as it is, and goes on another time."""
        if trial.pruning and code in SAVED:
            self.study.finish(trial.number, "pruned")
            self._report(trial, "stopped early")
        elif code == 0 or trial.finished():
            self._complete(trial)
        elif code in SAVED:
            if self.signals.noted is None and trial.adopted:
                self.waiting.append(Trial(self.folder, trial.number, trial.settings))
            else:
                self._report(trial, "saved")
        else:
            self._fail(trial, f"exit code {code}: {trial.last_line()}")
        write_csv(self.folder, self.sweep, self._rows())

    def _complete(self, trial: Trial) -> None:
        value = trial.value(self.sweep.metric.name)
        if value is None:
            self._fail(trial, f"no {self.sweep.metric.name} in its metrics or its summary")
            return
        self.study.finish(trial.number, "complete", value)
        self.reached |= self.sweep.metric.reached(value)
        self.enough |= self.reached
        best = self.study.best()
        beside = f"; best so far: trial {best.number}, {best.value:.4g}" if best else ""
        self._report(trial, f"done, {self.sweep.metric.name} {value:.4g}{beside}")

    def _fail(self, trial: Trial, reason: str) -> None:
        self.study.finish(trial.number, "fail")
        self.failures.append(reason)
        self._report(trial, f"failed, {reason}")
        if len(self.failures) == _FIRST_FAILURES and not self.study.trials("complete", "pruned"):
            self.enough = True
            self.view.line(f"the first {_FIRST_FAILURES} trials failed: no more are started")

    def _report(self, trial: Trial, what: str) -> None:
        self.view.line(f"trial {trial.number} {what}")

    def _prune(self) -> None:
        rule, metric = self.sweep.early_terminate, self.sweep.metric
        if rule is None or not self.running:
            return
        ours = [trial for trial in self.running if not trial.adopted]
        for trial in self.running:
            self.histories[trial.number] = trial.history(metric.name)
        histories = [self._history(record) for record in self.study.trials()]
        for trial in ours:
            if not trial.pruning and should_stop(histories[trial.number], histories, rule, metric):
                trial.pruning = True
                trial.send(signal.SIGTERM)

    def _rows(self) -> list[Row]:
        going = {trial.number for trial in self.running}
        rows = []
        for record in self.study.trials():
            trial, state = self._trial_of(record), record.state.name.lower()
            if state == "running" and record.number not in going:
                state = "interrupted"
            value = record.value if record.value is not None else trial.value(self.sweep.metric.name)
            seconds = trial.summary().get("wall_seconds")
            rows.append(Row(record.number, state, value, seconds, trial.settings))
        return rows

    def _title(self) -> str:
        done = len(self.study.trials("complete", "pruned", "fail"))
        return f"{self.sweep.name}: {done} of {self.sweep.limit} trials done, {len(self.running)} running"

    def _stop_trials(self) -> None:
        self.view.line("stopping: the running trials save themselves")
        for trial in self.running:
            trial.send(signal.SIGTERM)

    def _print_results(self) -> None:
        rows = self._rows()
        path = write_csv(self.folder, self.sweep, rows)
        for part in (table(self.sweep, rows), over_seeds(self.sweep, rows)):
            if part:
                print(aligned(part), end="\n\n")
        print(path)

    def _exit_code(self) -> int:
        if self.signals.noted is not None:
            print("stopped; the same command goes on")
            return self.signals.exit_code
        if self.study.trials("running"):
            print("a trial was interrupted; the same command goes on with it")
            return 75
        return 1 if self.study.trials("fail") else 0
