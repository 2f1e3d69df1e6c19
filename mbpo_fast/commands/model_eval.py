"""`mbpo-fast model-eval`."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from mbpo_fast.commands.common import print_rows, require, require_file, require_video, write_json

Card = dict[str, Any]


def model_eval(
    run: Annotated[Path, Parameter(help="A run folder, or one of its checkpoints.")],
    /,
    *,
    env: Annotated[str | None, Parameter(help="Play this environment id instead of the run's.")] = None,
    steps: Annotated[int, Parameter(help="Agent steps to judge on; games are whole.")] = 20_000,
    threshold_steps: Annotated[
        int | None, Parameter(help="Steps of other games for thresholds; default: half of --steps.")
    ] = None,
    starts: Annotated[int, Parameter(help="Branches of more than one step.")] = 1000,
    policy: Annotated[
        Literal["mixed", "random", "agent"], Parameter(help="Who plays; mixed: half of the games each.")
    ] = "mixed",
    epsilon: Annotated[float, Parameter(help="Exploration of the agent that plays.")] = 0.05,
    seed: Annotated[int, Parameter(help="Seed of the games, beside the run's.")] = 0,
    num_envs: Annotated[int, Parameter(help="Games played side by side.")] = 16,
    json: Annotated[Path | None, Parameter(help="Write all figures to this file.")] = None,
    video: Annotated[Path | None, Parameter(help="Write real beside imagined frames, .mp4 or .gif.")] = None,
    refresh: Annotated[int, Parameter(help="Steps the video imagines before it looks again.")] = 15,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Write a page with figures to this file.")
    ] = None,
) -> int:
    """Judge a run's world model on games that it has never seen."""
    for name, count in (("--steps", steps), ("--starts", starts), ("--refresh", refresh)):
        require(name, count, count >= 1, "at least 1")
    require(
        "--threshold-steps", threshold_steps, threshold_steps is None or threshold_steps >= 1, "at least 1"
    )
    least = 2 if policy == "mixed" else 1
    require("--num-envs", num_envs, num_envs >= least, f"at least {least}")
    require("--seed", seed, 0 <= seed < 2**31, "0 to 2147483647")
    require("--epsilon", epsilon, 0 <= epsilon <= 1, "0 to 1")
    require_file("--json", json)
    require_video("--video", video)
    require_file("--output", output)
    from mbpo_fast.training.model_eval import GameOptions, evaluate_model
    from mbpo_fast.training.video import video_file

    options = GameOptions(
        env, steps, threshold_steps or max(1, steps // 2), seed, policy, epsilon, num_envs
    )  # fmt: skip
    # The video's name is asked for now: a missing package must not cost the games.
    file = None if video is None else video_file(video)
    result = evaluate_model(
        run, options, starts=starts, video=file, refresh=refresh, say=partial(print, flush=True)
    )
    _print(result)
    if json is not None:
        write_json(json, result)
    if output is not None:
        from mbpo_fast.training.reports.model_eval import write_model_page

        print(write_model_page(result, output))
    return 0


def _print(result: Card) -> None:
    card = result["card"]
    print_rows(_head(result))
    print()
    print_rows(_error_rows(card))
    print()
    print_rows(_figure_rows(card))


def _head(result: Card) -> list[tuple[str, str]]:
    card, model = result["card"], result["model"]
    rows = [
        ("model", f"{model['arch']}, {model['members']} members, elites {_list(model['elites'])}, "
                  f"context {model['context']}, {model['gradient_steps']:,} updates"),
        ("run", f"seed {model['run_seed']}, {model['env_steps']:,} agent steps"),
        ("judged on", result["protocol"]),
        ("steps", f"{card['rows']:,}; {100 * card['changed_share']:.2f} % of the pixels change, "
                  f"{card['rewarded']:,} rewards, {card['ended']:,} ends"),
    ]  # fmt: skip
    return [*rows, ("video", result["video"])] if "video" in result else rows


def _error_rows(card: Card) -> Iterator[tuple[str, ...]]:
    """Open-loop errors of the ensemble, with the range of its members' shares."""
    yield ("error in gray levels", "changed pixels", "copy", "share", "members",
           "whole frame", "copy", "share", "members")  # fmt: skip
    for horizon, errors in card["ensemble"]["errors"].items():
        cells = [f"{horizon} step{'s' if horizon != '1' else ''}"]
        for name in ("changed", "frame"):
            key = f"{name}_error_ratio"
            shares = [member["errors"][horizon][key] for member in card["members"]]
            cells += [_number(errors[f"{name}_error"]), _number(errors[f"{name}_error_copy"])]
            cells += [_number(errors[key]), _range(shares)]
        yield tuple(cells)


def _figure_rows(card: Card) -> Iterator[tuple[str, ...]]:
    yield ("figure", "ensemble", "members")
    for name, of in _FIGURES:
        yield (name, _number(of(card["ensemble"])), _range([of(member) for member in card["members"]]))
    for name, key in (("reward", "f1"), ("end", "f1"), ("end", "false")):
        said = "steps taken for an end" if key == "false" else f"{name} F1"
        yield (f"decided in rollouts: {said}", "", _number(card["decided"][name][key]))
    for name, key in (("whole frame", "frame"), ("changed pixels", "changed")):
        yield (f"disagreement against error, {name}", _number(card["disagreement"][key]), "")


_FIGURES: tuple[tuple[str, Callable[[Card], float | None]], ...] = (
    ("reward precision", lambda figures: figures["reward"]["precision"]),
    ("reward recall", lambda figures: figures["reward"]["recall"]),
    ("reward F1", lambda figures: figures["reward"]["f1"]),
    ("end PR-AUC", lambda figures: figures["end"]["pr_auc"]),
    ("end F1", lambda figures: figures["end"]["f1"]),
    ("shuffled actions / error, changed pixels", lambda figures: figures["action_sensitivity"]["changed"]),
    ("  where few pixels change", lambda figures: figures["action_sensitivity"]["changed_few"]),
    ("shuffled actions / error, whole frame", lambda figures: figures["action_sensitivity"]["frame"]),
    ("  where few pixels change", lambda figures: figures["action_sensitivity"]["frame_few"]),
)


def _list(values: list[int]) -> str:
    return ", ".join(map(str, values))


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _range(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{_number(min(known))} to {_number(max(known))}" if known else "none"
