"""`mbpo-fast eval`."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from mbpo_fast.commands.common import print_rows, require, require_file, require_video, write_json


def evaluate(
    run: Annotated[Path, Parameter(help="A run folder, one of its checkpoints, or an exported policy.")],
    /,
    *,
    episodes: Annotated[int, Parameter(help="Whole games to play.")] = 100,
    seed: Annotated[
        int | None, Parameter(help="Seed of the games; default: that of the run's final evaluation.")
    ] = None,
    epsilon: Annotated[float | None, Parameter(help="Exploration; default: the run's setting.")] = None,
    env: Annotated[str | None, Parameter(help="Play this environment id instead of the run's.")] = None,
    num_envs: Annotated[
        int | None, Parameter(help="Games played side by side; default: the run's setting.")
    ] = None,
    workers: Annotated[int | None, Parameter(help="Emulator processes; default: two a thread.")] = None,
    json: Annotated[Path | None, Parameter(help="Write the result to this file too.")] = None,
    video: Annotated[Path | None, Parameter(help="Write a game to this file, .mp4 or .gif.")] = None,
) -> int:
    """Play whole games with a trained agent."""
    require("--episodes", episodes, episodes >= 1, "at least 1")
    require("--num-envs", num_envs, num_envs is None or num_envs >= 1, "at least 1")
    require("--workers", workers, workers is None or workers >= 0, "at least 0")
    require("--seed", seed, seed is None or 0 <= seed < 2**31, "0 to 2147483647")
    require("--epsilon", epsilon, epsilon is None or 0 <= epsilon <= 1, "0 to 1")
    require_file("--json", json)
    require_video("--video", video)
    from mbpo_fast.training.frozen import evaluate_run
    from mbpo_fast.training.video import video_file

    result = evaluate_run(
        run,
        episodes=episodes,
        seed=seed,
        epsilon=epsilon,
        env_id=env,
        num_envs=num_envs,
        workers=workers,
        # Asked for now: a missing package must not cost the games.
        video=None if video is None else video_file(video),
    )
    print_rows(_table(result))
    if json is not None:
        write_json(json, result)
    return 0


def _table(result: dict[str, Any]) -> list[tuple[str, str]]:
    low, high = result["ci95"]
    rows = [
        ("mean score", f"{result['mean']:.1f}"),
        ("95 % interval", f"{low:.1f} to {high:.1f}"),
        ("median", f"{result['median']:.1f}"),
        ("range", f"{result['min']:.1f} to {result['max']:.1f}"),
        ("games", f"{result['episodes']}, {result['distinct_games']} of them distinct"),
        ("protocol", result["protocol"]),
    ]
    return [*rows, ("video", result["video"])] if "video" in result else rows
