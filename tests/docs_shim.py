"""Stands in for a command of the documentation: the same program with a tiny budget, or its dry run.

`python docs_shim.py NAME ARGUMENTS...`; `test_docs_commands.py` puts it on the PATH under each of the names.
"""

import functools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent

# Budgets that let every phase happen; they win over a command's own, because the last option counts.
TINY = {
    "training.total_steps": 120,
    "training.learning_starts": 60,
    "training.updates_per_step": 0.1,
    "training.model_rollout_batch_size": 16,
    "env.max_episode_steps": 40,
    "env.num_envs": 2,
    "model.first_updates": 1,
    "model.updates": 1,
    "model.check_every": 1,
    "model.gate.min_holdout": 16,
    "model.holdout_rows": 16,
    "replay.capacity": 2000,
    "early_stopping.enabled": "false",
    "evaluation.final_episodes": 2,
    "evaluation.episodes": 2,
    "evaluation.every": 60,
    "log.every": 60,
    "checkpoint.every": 60,
    "threads": 1,
}

DRY = {
    "make": "takes minutes, or changes the checkout: `make -n`",
    "pip": "changes the machine: the extras that it names exist",
    "tensorboard": "serves until it is stopped: `--inspect` reads the same files and ends",
    "wandb": "needs an account: its own help knows the command",
    "sbatch": "needs a cluster: the job file is there and bash can read it",
    "mbpo-fast bench": "takes minutes on a quiet machine: its options are understood",
    "mbpo-fast train --track.mode online": "needs an account: its settings load",
    "mbpo-fast push": "needs an account: its options are understood",
    "mbpo-fast sweep --engine wandb": "needs an account: its options are understood",
}
"""What is not run in earnest, and what is done instead."""

NEEDS = {"wandb": "wandb", "sweep": "optuna", "push": "huggingface_hub"}
"""Words of a command that need a package which the tests may lack."""
NAMES = ("mbpo-fast", "make", "pip", "tensorboard", "wandb", "sbatch")


def tiny(arguments: Sequence[str]) -> list[str]:
    """The arguments of `mbpo-fast` with budgets for a test."""
    command, arguments = arguments[0], list(arguments)
    if command == "train":
        return [*arguments, *(f"--{key}={value}" for key, value in TINY.items())]
    if command == "model-eval":
        for option in ("--steps", "--threshold-steps", "--starts", "--num-envs"):
            arguments = _with_option(arguments, option, "30" if option != "--num-envs" else "2")
        return arguments
    if command == "model-fit":
        for option, value in (("--steps", "400"), ("--updates", "1"), ("--check-every", "1")):
            arguments = _with_option(arguments, option, value)
        return arguments
    if command == "eval":
        return _with_option(_with_option(arguments, "--episodes", "2"), "--num-envs", "2")
    return arguments


def dry_reason(arguments: Sequence[str]) -> str | None:
    """Why these arguments of `mbpo-fast` are not run in earnest; None: they are."""
    if "--dry-run" in arguments:
        return None
    for listed, reason in DRY.items():
        program, *words = listed.split()
        if program == "mbpo-fast" and words[0] == arguments[0] and " ".join(words[1:]) in " ".join(arguments):
            return reason
    return None


def _with_option(arguments: Sequence[str], option: str, value: str) -> list[str]:
    kept = list(arguments)
    if option in kept:
        at = kept.index(option)
        del kept[at : at + 2]
    return [*kept, option, value]


def mbpo_fast(arguments: list[str]) -> int:
    """Run it with a tiny budget; what is on the list was read by a faster test, and is left at that."""
    from mbpo_fast import cli

    missing = [package for word, package in NEEDS.items() if word in arguments and not find_spec(package)]
    if dry_reason(arguments) or missing:
        return 0
    if arguments[0] == "sweep":
        _tiny_trials()
    return cli.main(tiny(arguments))


def _tiny_trials() -> None:
    """Trials are processes: let them be started through here."""
    from mbpo_fast.sweeps import local

    train = (sys.executable, __file__, "mbpo-fast", "train")
    local.run_local = functools.partial(local.run_local, train=train)  # type: ignore[assignment]


def make(arguments: list[str]) -> int:
    """What make would do."""
    return subprocess.run(["/usr/bin/env", "make", "-n", "-C", str(ROOT), *arguments], check=False).returncode


def pip(arguments: list[str]) -> int:
    """Whether the extras of our package are known; other packages pass."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"(?:\.|mbpo_fast)\[([\w,-]+)\]", " ".join(arguments))
    unknown = {extra for extras in named for extra in extras.split(",")} - set(
        project["optional-dependencies"]
    )
    print(f"unknown extras: {sorted(unknown)}" if unknown else "extras known", file=sys.stderr)
    return 1 if unknown or arguments[0] != "install" else 0


def tensorboard(arguments: list[str]) -> int:
    """Read the event files and end; fails when there are none."""
    done = subprocess.run(
        [sys.executable, "-m", "tensorboard.main", "--inspect", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    print(done.stdout)
    return done.returncode or ("Event statistics" not in done.stdout)


def wandb(arguments: list[str]) -> int:
    """Whether W&B knows the command."""
    command = [sys.executable, "-m", "wandb", arguments[0], "--help"]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode


def sbatch(arguments: list[str]) -> int:
    """Whether bash can read the job file."""
    return subprocess.run(["bash", "-n", arguments[-1]], check=False).returncode


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    os.environ["PATH"] = os.environ.get("REAL_PATH", os.environ["PATH"])
    sys.exit(globals()[name.replace("-", "_")](rest))
