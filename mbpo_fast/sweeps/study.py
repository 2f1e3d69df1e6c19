"""The trials of a local sweep, in an Optuna study whose journal survives a kill at any moment."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mbpo_fast.errors import missing_extra
from mbpo_fast.sweeps.schema import Sweep
from mbpo_fast.sweeps.space import Axis, Point, grid_point, searched

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

JOURNAL = "journal.log"
STATES = ("running", "complete", "pruned", "fail")


def require_optuna() -> None:
    """MissingExtraError where Optuna is not installed."""
    try:
        import optuna
    except ImportError:
        raise missing_extra("optuna", "sweep") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class _NoLock:
    """Optuna's own lock would outlive a killed process; here the sweep's folder is locked already."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class Study:
    """Which trials exist, what they were given and how they ended. One process at a time may hold it.

    A trial enters the journal as one line with all its coordinates, and leaves it as one line: there is no
    moment at which half a trial is on the disk.
    """

    def __init__(self, folder: Path, sweep: Sweep) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        path = folder / JOURNAL
        _cut_half_line(path)
        self.sweep = sweep
        storage = JournalStorage(JournalFileBackend(str(path), lock_obj=cast(Any, _NoLock())))
        # A folder has one study for life, whatever the sweep is called now.
        names = [study.study_name for study in storage.get_all_studies()]
        self._study = optuna.create_study(
            study_name=names[0] if names else sweep.name,
            storage=storage,
            direction="maximize" if sweep.metric.maximize else "minimize",
            load_if_exists=True,
        )

    def trials(self, *states: str) -> list["optuna.trial.FrozenTrial"]:
        """Trials in these states (of STATES; none named: all), by number."""
        everything = self._study.get_trials(deepcopy=False)
        return [trial for trial in everything if not states or trial.state.name.lower() in states]

    def next_point(self) -> Point | None:
        """Where the next new trial lies; None when there is none left."""
        number = len(self.trials())
        if self.sweep.limit is not None and number >= self.sweep.limit:
            return None
        if self.sweep.method == "grid":
            return grid_point(self.sweep.axes, number)
        return self._suggested(number)

    def start(self, point: Point) -> int:
        """Note a new, running trial; returns its number."""
        import optuna

        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, params=point, distributions=self._distributions()
        )
        self._study.add_trial(trial)
        return len(self.trials()) - 1

    def finish(self, number: int, state: str, value: float | None = None) -> None:
        """Note how a running trial ended."""
        import optuna

        kind = optuna.trial.TrialState[state.upper()]
        self._study.tell(number, value if state == "complete" else None, state=kind)

    def best(self) -> "optuna.trial.FrozenTrial | None":
        """The complete trial with the best value, the first of equals."""
        complete = self.trials("complete")
        sign = 1 if self.sweep.metric.maximize else -1
        return max(complete, key=lambda trial: sign * (trial.value or 0.0), default=None)

    def _suggested(self, number: int) -> Point:
        """A draw that depends on the trials so far and on nothing else, so that a restart changes nothing."""
        import optuna

        sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=number)
        if self.sweep.method == "bayes":
            sampler = optuna.samplers.TPESampler(seed=number)
        scratch = optuna.create_study(direction=self._study.direction, sampler=sampler)
        if self.sweep.method == "bayes":
            scratch.add_trials(self.trials())
        return dict(scratch.ask(self._distributions()).params)

    def _distributions(self) -> dict[str, "BaseDistribution"]:
        return {axis.name: _distribution(axis) for axis in searched(self.sweep.axes)}


def _distribution(axis: Axis) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.kind == "choice":
        return CategoricalDistribution(axis.labels())
    if axis.kind == "int":
        return IntDistribution(int(axis.low), int(axis.high))
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _cut_half_line(path: Path) -> None:
    """Remove a last line that was being written when the process was killed; the trial goes on anyway."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
