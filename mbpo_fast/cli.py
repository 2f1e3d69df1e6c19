"""The `mbpo-fast` command. Heavy modules are imported where they are used, so that `--help` is quick."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import UnusedCliTokensError

from mbpo_fast import __version__
from mbpo_fast.commands.agent_words import agent_folder, plain_words
from mbpo_fast.commands.common import load_settings, print_rows, run_name, slug
from mbpo_fast.errors import UsageError

Configs = Annotated[
    list[str], Parameter(help="Preset or YAML file; give it again to lay more over it.", negative=())
]
# `--training.real-ratio 0.1` reaches the commands as `--set=training.real-ratio=0.1`.
Overrides = Annotated[list[str] | None, Parameter(name="--set", show=False, negative=())]
Seed = Annotated[int | None, Parameter(help="Root of all random numbers.")]
_SWITCH: dict[str, Any] = {"negative": (), "show_default": False}
DEFAULT_CONFIG = "mbpo"
_TAKE_SETTINGS = (["train"], ["model-fit"], ["info"], ["config", "show"])
_SHORT_KEYS = ("device", "threads", "cuda_graphs")
_EXTRAS = {
    "atari": ("ale_py", "Atari games"),
    "tensorboard": ("tensorboard", "TensorBoard events"),
    "sweep": ("optuna", "sweeps on this machine"),
    "video": ("av", "mp4 videos; without it they are GIFs"),
    "wandb": ("wandb", "tracking by Weights & Biases"),
    "hub": ("huggingface_hub", "policies on the Hugging Face Hub"),
}

app = App(
    name="mbpo-fast",
    version=__version__,
    help="Model-based reinforcement learning from pixels: train, evaluate, look inside.",
    help_format="plaintext",
)
config_app = App(name="config", help="Show settings, or list all of them.")
app.command(config_app)
app.command(
    "mbpo_fast.commands.evaluate:evaluate", name="eval", help="Play whole games with a trained agent."
)
app.command(
    "mbpo_fast.commands.model_eval:model_eval",
    name="model-eval",
    help="Judge a run's world model on games that it has never seen.",
)
app.command(
    "mbpo_fast.commands.model_fit:model_fit",
    name="model-fit",
    help="Fit a world model to fresh games of a trained policy.",
)
app.command(
    "mbpo_fast.commands.export:export",
    name="export",
    help="Save a trained policy as a folder: card, settings, weights.",
)
app.command("mbpo_fast.commands.push:push", name="push", help="Send a policy folder to the Hugging Face Hub.")


@app.command
def train(
    *,
    config: Configs | None = None,
    run: Annotated[Path | None, Parameter(help="Run folder; default: runs/CONFIG-ENV-sSEED.")] = None,
    seed: Seed = None,
    track: Annotated[
        Literal["wandb"] | None, Parameter(help="Log to Weights & Biases too; offline without a key.")
    ] = None,
    dry_run: Annotated[
        bool, Parameter(help="Check everything, print what would run, and stop.", **_SWITCH)
    ] = False,
    overrides: Overrides = None,
) -> int:
    """Train an agent. The same command goes on where it stopped.

    Every setting is an option too, such as --training.real-ratio 0.1
    The list of them: mbpo-fast config schema
    """
    from mbpo_fast.training.dry_run import describe_run
    from mbpo_fast.training.run import train as run_training

    names = config or [DEFAULT_CONFIG]
    tracked = [f"track.to={track}"] if track else []
    settings = load_settings(names, [*(overrides or ()), *tracked], seed)
    own = Path("runs") / f"{run_name(names)}-{slug(settings.env.id)}-s{settings.seed}"
    run_dir = run or agent_folder() or own
    if dry_run:
        print_rows(describe_run(settings, run_dir))
        return 0
    return run_training(settings, run_dir, config_name=run_name(names))


@app.command
def verify_env(
    env_id: Annotated[
        str, Parameter(help="Any Atari id of ale-py, or Catch.")
    ] = "SpaceInvadersNoFrameskip-v4",
    /,
    *,
    frames: Annotated[Path | None, Parameter(help="Write one observation's frames here, as PNG.")] = None,
) -> int:
    """Check that an environment is what it should be."""
    from mbpo_fast.envs.verify import verify_env as checks

    rows = checks(env_id)
    print_rows(
        ("ok " if ok else "BAD", what, value if ok else f"{value}, expected {expected}")
        for what, value, expected, ok in rows
    )
    if frames is not None:
        for path in _write_frames(env_id, frames):
            print(path)
    wrong = [row.what for row in rows if not row.ok]
    if wrong:
        print(f"mbpo-fast: error: {env_id}: not as expected: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


@app.command
def info(
    *,
    model: Annotated[bool, Parameter(help="Show the networks of a configuration.", **_SWITCH)] = False,
    config: Configs | None = None,
    seed: Seed = None,
    overrides: Overrides = None,
) -> int:
    """Show what is installed, what was built and what is in use."""
    if model:
        from mbpo_fast.training.networks import describe_networks

        rows = describe_networks(load_settings(config or [DEFAULT_CONFIG], overrides, seed))
        print_rows([tuple(rows[0]), *(tuple(str(cell) for cell in row.values()) for row in rows)])
    else:
        print_rows(_installed())
    return 0


@config_app.command
def show(*, config: Configs | None = None, seed: Seed = None, overrides: Overrides = None) -> int:
    """Print every setting of a configuration as YAML."""
    from mbpo_fast.config import resolved_yaml

    print(resolved_yaml(load_settings(config or [DEFAULT_CONFIG], overrides, seed)), end="")
    return 0


@config_app.command
def schema() -> int:
    """List all settings: key, default, type, meaning."""
    from mbpo_fast.config import config_schema_rows

    for row in config_schema_rows():
        with_kind = f"   with {row.when}" if row.when else ""
        print(f"{row.key} = {row.default}   [{row.type}]{with_kind}\n    {row.description}")
    return 0


@app.command
def bench(
    *,
    group: Annotated[str | None, Parameter(name=["-k", "--group"], help="Only these benchmarks.")] = None,
) -> int:
    """Measure speed beside other libraries; needs a source checkout."""
    from mbpo_fast.benchmarks import run_benchmarks

    print_rows(run_benchmarks(group))
    return 0


app.command(
    "mbpo_fast.commands.report:report",
    name="report",
    help="Write one page about a run, or that compares runs.",
)
app.command("mbpo_fast.commands.sweep:sweep", name="sweep", help="Train many runs over a space of settings.")


@app.command
def completion(
    *,
    shell: Annotated[
        Literal["bash", "zsh", "fish"] | None, Parameter(help="Default: the shell in use.")
    ] = None,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Only write the script, to this file.")
    ] = None,
) -> int:
    """Let the Tab key complete commands and settings."""
    from mbpo_fast.commands.completion import install_completion

    print("\n".join(install_completion(app, _TAKE_SETTINGS, shell, output)))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. A user's mistake is one line on stderr, and 2."""
    # Read when torch loads: threads that spin at a barrier cost eight times the step on a shared machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        tokens = _with_overrides(list(sys.argv[1:] if argv is None else argv))
        command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
        result = command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except UnusedCliTokensError as error:
        hint = " (a preset or a file goes after --config)" if _takes_settings(tokens) else ""
        return _fail(f"unexpected argument {' '.join(error.unused_tokens or ())}{hint}", 2)
    except (UsageError, CycloptsError) as error:
        return _fail(" ".join(str(error).split()), 2)
    except BrokenPipeError:
        # The reader has gone (`| head`); keep the interpreter from flushing into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        usage = isinstance(
            error, FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError
        )
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 2 if usage else 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


def _fail(message: str, code: int) -> int:
    print(f"mbpo-fast: error: {message}", file=sys.stderr)
    return code


def _takes_settings(tokens: list[str]) -> bool:
    return tokens[:1] in _TAKE_SETTINGS or tokens[:2] in _TAKE_SETTINGS


def _with_overrides(tokens: list[str]) -> list[str]:
    """Rewrite `--key.sub VALUE` and `--key.sub=VALUE` to `--set=key.sub=VALUE` where settings are taken."""
    if not _takes_settings(tokens):
        return tokens
    rewritten = []
    rest = iter(plain_words(tokens))
    for token in rest:
        key, equals, value = token[2:].partition("=")
        if not token.startswith("--") or not ("." in key or key.replace("-", "_") in _SHORT_KEYS):
            rewritten.append(token)
            continue
        value = value if equals else next(rest, "--")
        if not equals and value.startswith("--"):
            raise UsageError(f"--{key}: expected a value after it")
        rewritten.append(f"--set={key}={value}")
    return rewritten


def _write_frames(env_id: str, folder: Path) -> list[Path]:
    """PNG files of one observation a few steps into a game."""
    from mbpo_fast.envs import make_env
    from mbpo_fast.envs.verify import stack_pngs

    env = make_env(env_id)
    obs, _ = env.reset(seed=0)
    for _ in range(obs.shape[0]):
        obs, *_ = env.step(env.action_space.sample())
    env.close()
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"frame_{age}.png" for age in range(len(obs))]
    for path, png in zip(paths, stack_pngs(obs), strict=True):
        path.write_bytes(png)
    return paths


def _installed() -> list[tuple[str, str]]:
    from importlib.metadata import version
    from importlib.util import find_spec
    from platform import python_version

    import torch

    from mbpo_fast.errors import missing_extra
    from mbpo_fast.ops import build_info

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    rows = [(f"core {key}" if key != "version" else "mbpo_fast", text) for key, text in build_info().items()]
    rows += [("python", python_version()), ("device", device)]
    rows += [(name, version(name)) for name in ("torch", "numpy", "gymnasium", "pydantic", "safetensors")]
    for extra, (module, purpose) in _EXTRAS.items():
        hint = "installed" if find_spec(module) else str(missing_extra(module, extra)).partition(": ")[2]
        rows.append((f"extra {extra}", f"{hint} ({purpose})"))
    return rows
