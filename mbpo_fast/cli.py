"""The `mbpo-fast` command. Heavy modules are imported where they are used, so that `--help` is quick."""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from mbpo_fast import __version__
from mbpo_fast.errors import UsageError

Configs = Annotated[
    list[str], Parameter(help="Preset or YAML file; give it again to lay more over it.", negative=())
]
# `--training.real-ratio 0.1` reaches the commands as `--set=training.real-ratio=0.1`.
Overrides = Annotated[list[str] | None, Parameter(name="--set", show=False, negative=())]
DEFAULT_CONFIG = "mbpo"
_TAKE_SETTINGS = (["train"], ["info"], ["config", "show"])
_SHORT_KEYS = ("device", "threads")
_EXTRAS = {
    "atari": ("ale_py", "Atari games"),
    "tensorboard": ("tensorboard", "TensorBoard events"),
    "video": ("av", "mp4 videos; without it they are GIFs"),
}

app = App(
    name="mbpo-fast",
    version=__version__,
    help="Model-based reinforcement learning from pixels: train, evaluate, look inside.",
    help_format="plaintext",
)
config_app = App(name="config", help="Show settings, or list all of them.")
app.command(config_app)


@app.command
def train(
    *,
    config: Configs | None = None,
    run: Annotated[Path | None, Parameter(help="Run folder; default: runs/CONFIG-ENV-sSEED.")] = None,
    seed: Annotated[int | None, Parameter(help="Root of all random numbers.")] = None,
    overrides: Overrides = None,
) -> int:
    """Train an agent. The same command goes on where it stopped.

    Every setting that `mbpo-fast config schema` lists is an option too: --training.real-ratio 0.1
    """
    from mbpo_fast.training.run import train as run_training

    names = config or [DEFAULT_CONFIG]
    settings = _load(names, overrides, seed)
    name = _slug("-".join(Path(source).stem for source in names))
    run_dir = run or Path("runs") / f"{name}-{_slug(settings.env.id)}-s{settings.seed}"
    return run_training(settings, run_dir, config_name=name)


@app.command(name="eval")
def evaluate(
    run: Annotated[Path, Parameter(help="A run folder, or one of its checkpoints.")],
    /,
    *,
    episodes: Annotated[int, Parameter(help="Whole games to play.")] = 100,
    seed: Annotated[int, Parameter(help="Seed of the games.")] = 0,
    epsilon: Annotated[float | None, Parameter(help="Exploration; default: the run's setting.")] = None,
    env: Annotated[str | None, Parameter(help="Play this environment id instead of the run's.")] = None,
    num_envs: Annotated[int, Parameter(help="Games played side by side.")] = 16,
    json: Annotated[Path | None, Parameter(help="Write the result to this file too.")] = None,
) -> int:
    """Play whole games with a trained agent."""
    _require("--episodes", episodes, episodes >= 1, "at least 1")
    _require("--num-envs", num_envs, num_envs >= 1, "at least 1")
    _require("--seed", seed, 0 <= seed < 2**31, "0 to 2147483647")
    _require("--epsilon", epsilon, epsilon is None or 0 <= epsilon <= 1, "0 to 1")
    _require("--json", json, json is None or json.parent.is_dir(), "a file in a folder that exists")
    from mbpo_fast.training.frozen import evaluate_run

    result = evaluate_run(run, episodes=episodes, seed=seed, epsilon=epsilon, env_id=env, num_envs=num_envs)
    if json is not None:
        _write_json(json, result)
    low, high = result["ci95"]
    _print_rows(
        [
            ("mean score", f"{result['mean']:.1f}"),
            ("95 % interval", f"{low:.1f} to {high:.1f}"),
            ("median", f"{result['median']:.1f}"),
            ("range", f"{result['min']:.1f} to {result['max']:.1f}"),
            ("games", f"{result['episodes']}, {result['distinct_games']} of them distinct"),
            ("protocol", result["protocol"]),
        ]
    )
    return 0


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
    _print_rows(
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
    model: Annotated[bool, Parameter(help="Show the networks of a configuration.", negative=())] = False,
    config: Configs | None = None,
    overrides: Overrides = None,
) -> int:
    """Show what is installed, what was built and what is in use."""
    if model:
        from mbpo_fast.training.build import describe_networks

        rows = describe_networks(_load(config or [DEFAULT_CONFIG], overrides))
        _print_rows([tuple(rows[0]), *(tuple(str(cell) for cell in row.values()) for row in rows)])
    else:
        _print_rows(_installed())
    return 0


@config_app.command
def show(*, config: Configs | None = None, overrides: Overrides = None) -> int:
    """Print every setting of a configuration as YAML."""
    from mbpo_fast.config import resolved_yaml

    print(resolved_yaml(_load(config or [DEFAULT_CONFIG], overrides)), end="")
    return 0


@config_app.command
def schema() -> int:
    """List all settings: key, default, type, meaning."""
    from mbpo_fast.config import config_schema_rows

    for row in config_schema_rows():
        print(f"{row.key} = {row.default}   [{row.type}]\n    {row.description}")
    return 0


@app.command
def bench(
    *,
    group: Annotated[str | None, Parameter(name=["-k", "--group"], help="Only these benchmarks.")] = None,
) -> int:
    """Measure speed beside other libraries; needs a source checkout."""
    from mbpo_fast.benchmarks import run_benchmarks

    _print_rows(run_benchmarks(group))
    return 0


@app.command
def report(
    run: Annotated[Path, Parameter(help="A run folder.")],
    /,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="File to write; default RUN/report.html.")
    ] = None,
) -> int:
    """Write a run's report, also while it trains."""
    from mbpo_fast.training.report import write_report

    print(write_report(run, output))
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


def _with_overrides(tokens: list[str]) -> list[str]:
    """Rewrite `--key.sub VALUE` and `--key.sub=VALUE` to `--set=key.sub=VALUE` where settings are taken."""
    if tokens[:1] not in _TAKE_SETTINGS and tokens[:2] not in _TAKE_SETTINGS:
        return tokens
    rewritten = []
    rest = iter(tokens)
    for token in rest:
        key, equals, value = token[2:].partition("=")
        if not token.startswith("--") or not ("." in key or key in _SHORT_KEYS):
            rewritten.append(token)
            continue
        value = value if equals else next(rest, "--")
        if not equals and value.startswith("--"):
            raise UsageError(f"--{key}: expected a value after it")
        rewritten.append(f"--set={key}={value}")
    return rewritten


def _load(sources: Sequence[str], overrides: Iterable[str] | None, seed: int | None = None) -> Any:
    from mbpo_fast.config import load_config

    values = dict(item.partition("=")[::2] for item in overrides or ())
    return load_config(sources, values if seed is None else values | {"seed": str(seed)})


def _require(option: str, value: object, fulfilled: bool, expected: str) -> None:
    if not fulfilled:
        raise UsageError(f"{option}: expected {expected}, got {value}")


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "run"


def _print_rows(rows: Iterable[Sequence[str]]) -> None:
    """Columns of text, aligned by spaces; the last one is as long as it likes."""
    table = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
    for row in table:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))


def _write_json(path: Path, content: Any) -> None:
    import json

    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


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
