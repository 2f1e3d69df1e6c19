"""Games that no part of a run has seen, as episodes: what a world model is judged on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.agents import Agent
from mbpo_fast.envs import GameVectorEnv
from mbpo_fast.models.episodes import Episode
from mbpo_fast.ops import Stream, random_integers

Players = Literal["mixed", "random", "agent"]
MOST = 3
"""Games are played to their end, but not for more than this many times the steps asked for."""


@dataclass(frozen=True, eq=False)
class FreshGames:
    """The episodes lane by lane, how many games were played to their end, and how many were cut."""

    episodes: list[Episode]
    whole: int
    cut: int


def play_fresh_games(
    env: GameVectorEnv, agent: Agent, *, steps: int, seed: int, players: Players, epsilon: float
) -> FreshGames:
    """Play at least `steps` agent steps, and every game that was begun to its end.

    mixed: `agent`, epsilon-greedy, plays the first half of the lanes, random actions play the other half;
    else one of them plays all. Games that were begun count as a whole, so short ones are not preferred.
    `env` has training's own settings: rewards and ends are those that the model learned.
    """
    lanes = [_Lane() for _ in range(env.num_envs)]
    by_agent = {"mixed": (env.num_envs + 1) // 2, "random": 0, "agent": env.num_envs}[players]
    obs, _ = env.reset(seed=seed)
    for lane, frame in zip(lanes, env.newest_frames(), strict=True):
        lane.begin(frame)
    played = step = 0
    while played < MOST * steps and (played < steps or not all(lane.between_games for lane in lanes)):
        action = by_agent_and_chance(agent, obs, by_agent, seed=seed, step=step, epsilon=epsilon)
        obs, reward, terminated, _, infos = env.step(action)
        frames = env.newest_frames()
        for i, lane in enumerate(lanes):
            if played >= steps and lane.between_games:
                continue
            if infos["reset"][i]:
                lane.begin(frames[i])
            else:
                lane.add(frames[i], action[i], reward[i], terminated[i])
                played += 1
            if infos["game_over"][i]:
                lane.end_game()
        step += 1
    episodes = [episode for lane in lanes for episode in lane.episodes()]
    cut = sum(not lane.between_games for lane in lanes)
    return FreshGames(episodes, sum(lane.games for lane in lanes), cut)


def by_agent_and_chance(
    agent: Agent, obs: NDArray[np.uint8], by_agent: int, *, seed: int, step: int, epsilon: float
) -> NDArray[np.int64]:
    """Actions i64 [N] for obs u8 [N, S, h, w]: the first `by_agent` rows by `agent`, the others random."""
    action = random_integers(seed, Stream.EXPLORE, step, len(obs), agent.num_actions, word=1)
    if by_agent:
        action[:by_agent] = agent.act(obs[:by_agent], epsilon, seed=seed, stream=Stream.EXPLORE, step=step)
    return action


class _Lane:
    """The episodes of one lane; an episode's first row is its reset's frame."""

    def __init__(self) -> None:
        self.games = 0
        self.between_games = False
        self._rows: list[list[tuple[NDArray[np.uint8], int, float, bool]]] = []

    def begin(self, frame: NDArray[np.uint8]) -> None:
        self._rows.append([(frame.copy(), 0, 0.0, False)])
        self.between_games = False

    def add(self, frame: NDArray[np.uint8], action: int, reward: float, terminated: bool) -> None:
        self._rows[-1].append((frame.copy(), action, reward, terminated))
        self.between_games = False

    def end_game(self) -> None:
        self.games += 1
        self.between_games = True

    def episodes(self) -> list[Episode]:
        return [_episode(rows) for rows in self._rows if len(rows) > 1]


def _episode(rows: list[tuple[NDArray[np.uint8], int, float, bool]]) -> Episode:
    frames, action, reward, terminated = zip(*rows, strict=True)
    return Episode(
        np.stack(frames),
        np.array(action[1:], np.int64),
        np.array(reward[1:], np.float32),
        np.array(terminated[1:], bool),
    )
