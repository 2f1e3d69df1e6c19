"""The report card of a run's world model: read from a checkpoint, judged on games that it has never seen."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mbpo_fast.agents import Agent
from mbpo_fast.config import Config
from mbpo_fast.envs import make_vec
from mbpo_fast.errors import UsageError
from mbpo_fast.models import WorldModel
from mbpo_fast.models.filmstrip import filmstrip
from mbpo_fast.models.report_card import report_card
from mbpo_fast.training.build import EVALUATION_SEED, build_model
from mbpo_fast.training.fresh_games import FreshGames, Players, play_fresh_games
from mbpo_fast.training.frozen import VIDEO_FPS, check_game, protocol_name
from mbpo_fast.training.machine import machine_info, set_up_process
from mbpo_fast.training.policy import fresh_agent, read_checkpoint, weights_that_fit
from mbpo_fast.training.video import write_video

MAX_VIDEO_STEPS = 450
"""Half a minute at the game's speed."""


@dataclass(frozen=True)
class GameOptions:
    """Which games are played: `steps` to judge on, `threshold_steps` others for the thresholds.

    `num_envs` lanes, the draws keyed by `seed`; see `play_fresh_games` for the rest.
    """

    env_id: str | None = None
    steps: int = 20_000
    threshold_steps: int = 10_000
    seed: int = 0
    players: Players = "mixed"
    epsilon: float = 0.05
    num_envs: int = 16


@dataclass(frozen=True)
class LoadedModel:
    """A trained world model with the agent of the same checkpoint."""

    config: Config
    model: WorldModel
    agent: Agent
    env_steps: int


def load_model(path: Path) -> LoadedModel:
    """The world model of a run's newest checkpoint, or of one checkpoint folder.

    UsageError where there is none of them, or one without a trained model.
    """
    saved = read_checkpoint(path)
    if "model" not in saved.parts or saved.config.model.kind != "learned":
        kind = "model.kind oracle" if "model" in saved.parts else "training.real_ratio 1"
        raise UsageError(f"{path}: expected a run with a learned world model, got one with {kind}")
    agent = fresh_agent(saved.config)
    model = build_model(saved.config, agent.frame_shape, agent.num_actions)
    with weights_that_fit(path):
        agent.load_state_dict(saved.parts["agent"])
        model.load_state_dict(saved.parts["model"])
    if model.gradient_steps == 0:
        raise UsageError(f"{path}: expected a trained world model, got one before its first fit")
    return LoadedModel(saved.config, model, agent, saved.env_steps)


def evaluate_model(
    path: Path,
    options: GameOptions,
    *,
    starts: int,
    video: Path | None = None,
    refresh: int = 15,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """The report card as plain data: what was judged, the protocol, `card` as `ReportCard.to_dict`, machine.

    `video`: write the longest judged episode there, imagined anew from its real frames every `refresh` steps.
    `say` hears what comes next: all of it takes minutes.
    """
    begin = time.perf_counter()
    loaded = load_model(path)
    set_up_process(loaded.config)
    # Neither training nor an evaluation of this run has played on these seeds.
    seeds = {
        name: loaded.config.seed + 3 * EVALUATION_SEED + 2 * options.seed + i
        for i, name in enumerate(("games", "threshold_games"))
    }
    say(f"playing {options.steps:,} and {options.threshold_steps:,} steps")
    judged = _play(loaded, options, options.steps, seeds["games"])
    others = _play(loaded, options, options.threshold_steps, seeds["threshold_games"])
    members = loaded.config.model.ensemble_size
    say(f"judging {members} members on {sum(len(e.action) for e in judged.episodes):,} steps")
    card = report_card(
        loaded.model, judged.episodes, calibration=others.episodes, starts=starts, seed=options.seed
    )
    result = {
        "env_id": options.env_id or loaded.config.env.id,
        "protocol": _protocol(loaded.config, options, judged, others),
        "seeds": seeds | {"shuffle": options.seed, "run": loaded.config.seed},
        "starts": starts,
        "model": _about(loaded),
        "card": card.to_dict(),
        "machine": machine_info(),
    }
    if video is not None:
        say("imagining the video")
        longest = max(judged.episodes, key=lambda episode: len(episode.action))
        strip = filmstrip(loaded.model, longest, refresh=refresh)
        result["video"] = str(write_video(video, list(islice(strip, MAX_VIDEO_STEPS)), fps=VIDEO_FPS))
    return result | {"seconds": time.perf_counter() - begin}


def _play(loaded: LoadedModel, options: GameOptions, steps: int, seed: int) -> FreshGames:
    config, agent = loaded.config, loaded.agent
    env = make_vec(options.env_id or config.env.id, options.num_envs, seed=seed, **config.env.env_settings())
    try:
        check_game(env, agent, config, options.env_id)
        return play_fresh_games(
            env, agent, steps=steps, seed=seed, players=options.players, epsilon=options.epsilon
        )
    finally:
        env.close()


def _protocol(config: Config, options: GameOptions, judged: FreshGames, others: FreshGames) -> str:
    agent = f"the run's agent (epsilon {options.epsilon:g})"
    mixed = f"half of them by random actions, half by {agent}"
    players = {"mixed": mixed, "random": "by random actions", "agent": f"by {agent}"}[options.players]
    lives = f" in {len(judged.episodes)} episodes" if len(judged.episodes) > judged.whole + judged.cut else ""
    return (
        f"{protocol_name(config, options.env_id)}, {_games(judged)}{lives}, {players}; "
        f"thresholds from other games: {_games(others)}; seed {options.seed}"
    )


def _games(games: FreshGames) -> str:
    return f"{games.whole} whole games" + (f" and {games.cut} that were cut" if games.cut else "")


def _about(loaded: LoadedModel) -> dict[str, Any]:
    config = loaded.config.model
    return {
        "arch": config.arch,
        "members": config.ensemble_size,
        "elites": loaded.model.elites,
        "context": config.context,
        "parameters_of_a_member": sum(p.numel() for p in loaded.model.members[0].parameters()),
        "gradient_steps": loaded.model.gradient_steps,
        "env_steps": loaded.env_steps,
        "run_seed": loaded.config.seed,
    }
