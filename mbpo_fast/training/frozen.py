"""A trained policy, frozen: whole games, a video, loading from a checkpoint, the short Python API."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mbpo_fast.agents import Agent
from mbpo_fast.config import Config
from mbpo_fast.envs import EnvSettings, GameVectorEnv, make_env
from mbpo_fast.envs.halves import half_shares
from mbpo_fast.envs.registry import parse_env_id, sticky_probability
from mbpo_fast.errors import UsageError
from mbpo_fast.ops import Stream
from mbpo_fast.training.build import build_eval_env, final_seed
from mbpo_fast.training.evaluation import Evaluation, evaluate_policy
from mbpo_fast.training.machine import set_up_process, thread_count
from mbpo_fast.training.policy import load_policy
from mbpo_fast.training.video import write_video

MAX_VIDEO_STEPS = 4_000
"""Agent steps of a video at most: some four minutes."""
VIDEO_FPS = 15
"""The speed of the game: 60 emulator frames a second, 4 of them an agent step."""


def play(
    config: Config,
    agent: Agent,
    *,
    episodes: int,
    seed: int,
    epsilon: float | None = None,
    env_id: str | None = None,
    num_envs: int | None = None,
    workers: int | None = None,
) -> Evaluation:
    """Whole games of a frozen policy under a run's settings; see `evaluate_policy`.

    The `num_envs` games are played in two halves: one steps in `workers` processes (None: two a thread, for
    half of them rest; 0: in this one) while the other is acted on here. The scores do not depend on how many
    workers there are.
    """
    epsilon = config.evaluation.epsilon if epsilon is None else epsilon
    lanes = min(num_envs or config.evaluation.num_envs, episodes)
    workers = min(2 * thread_count(config) if workers is None else workers, lanes)
    protocol = (
        f"{protocol_name(config, env_id)}, whole games, raw scores, epsilon {epsilon:g}, seed {seed}, "
        f"{lanes} side by side"
    )
    envs = _build_halves(config, lanes, workers, env_id)
    try:
        check_game(envs[0], agent, config, env_id)
        with _half_of_the_threads():
            return evaluate_policy(
                agent, envs, episodes=episodes, seed=seed, epsilon=epsilon, protocol=protocol
            )
    finally:
        for env in envs:
            env.close()


def check_game(env: GameVectorEnv, agent: Agent, config: Config, env_id: str | None) -> None:
    """UsageError where another game than the run's has frames or actions that the agent does not know."""
    frames, actions = env.stack_shape[1:], len(env.action_meanings)
    if (frames, actions) != (agent.frame_shape, agent.num_actions):
        raise UsageError(
            f"{env_id}: expected frames of {_by(agent.frame_shape)} and {agent.num_actions} actions as in "
            f"{config.env.id}, got {_by(frames)} and {actions}"
        )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


@contextmanager
def _half_of_the_threads() -> Iterator[None]:
    """Leave the other half of the cores to the emulators; always, so that no sum depends on the workers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // 2))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _build_halves(config: Config, lanes: int, workers: int, env_id: str | None) -> list[GameVectorEnv]:
    """The lanes as two environments, each with half of the workers; as one where there is one lane."""
    return [
        build_eval_env(config, num_envs=size, workers=share, first_lane=lane, env_id=env_id)
        for lane, size, share in half_shares(lanes, workers)
        if size
    ]


def protocol_name(config: Config, env_id: str | None = None) -> str:
    """The game and, for Atari, the protocol: v4, v5 (sticky), or neither by the run's own settings."""
    env_id = env_id or config.env.id
    if parse_env_id(env_id).rom is None:
        return env_id
    settings = EnvSettings(**config.env.env_settings())
    sticky = sticky_probability(env_id, settings)
    names = {0.0: "v4: no sticky actions", 0.25: "v5: sticky actions 0.25"}
    rule = names.get(sticky, f"neither v4 nor v5: sticky actions {sticky:g}")
    return f"{env_id} ({rule}, up to {settings.noop_max} no-ops)"


def record_game(
    config: Config,
    agent: Agent,
    path: Path,
    *,
    seed: int,
    epsilon: float | None = None,
    env_id: str | None = None,
) -> Path:
    """A video of one whole game of the frozen policy, in the emulator's colours; returns the file.

    The game begins as the first one of an evaluation with this seed. `path`: see `write_video`. Nothing that
    training depends on is touched: the environment is one of its own, the draws are keyed by `seed`.
    """
    epsilon = config.evaluation.epsilon if epsilon is None else epsilon
    settings = config.env.env_settings() | {"episodic_life": False, "clip_reward": False}
    env = make_env(env_id or config.env.id, seed=seed, render_mode="rgb_array", **settings)
    obs, info = env.reset()
    frames = [env.render()]
    step = 0
    while not info["game_over"] and step < MAX_VIDEO_STEPS:
        action = agent.act(obs[None], epsilon, seed=seed, stream=Stream.EXPLORE, step=step)
        obs, _, _, _, info = env.step(int(action[0]))
        frames.append(env.render())
        step += 1
    env.close()
    return write_video(path, frames, fps=VIDEO_FPS)


class FrozenAgent:
    """A trained policy that acts on observations and learns no more."""

    def __init__(self, agent: Agent, config: Config) -> None:
        self._agent, self.config = agent, config
        self._calls = 0

    def act(self, obs: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Actions i64 [B] for stacks u8 [B, 4, h, w], or one action i64 [] for one stack.

        A value learner's are greedy; a policy's are drawn from it, by the number of the call.
        """
        stacks = np.ascontiguousarray(obs[None] if obs.ndim == 3 else obs)
        actions = self._agent.act(stacks, 0.0, seed=0, stream=Stream.EXPLORE, step=self._calls)
        self._calls += 1
        return np.asarray(actions[0]) if obs.ndim == 3 else actions


def load_agent(path: str | Path) -> FrozenAgent:
    """The policy of a run's newest checkpoint, of a checkpoint or of a policy folder; see `FrozenAgent.act`.

    Raises UsageError where there is none of them, no checkpoint yet, or a damaged one.
    """
    policy = load_policy(Path(path))
    return FrozenAgent(policy.agent, policy.config)


def evaluate(
    agent: FrozenAgent,
    env_id: str | None = None,
    episodes: int = 100,
    seed: int | None = None,
    epsilon: float | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Whole games of a loaded agent, on its own game or another; the keys are those of `Evaluation`.

    seed: None is that of the final evaluation of the agent's run, which its training never used.
    """
    set_up_process(agent.config)
    return play(
        agent.config,
        agent._agent,
        episodes=episodes,
        seed=final_seed(agent.config) if seed is None else seed,
        epsilon=epsilon,
        env_id=env_id,
        workers=workers,
    ).to_dict()


def evaluate_run(
    path: Path,
    *,
    episodes: int,
    seed: int | None,
    epsilon: float | None,
    env_id: str | None,
    num_envs: int | None = None,
    workers: int | None = None,
    video: Path | None = None,
) -> dict[str, Any]:
    """Whole games of a frozen policy; the keys are those of `Evaluation`, and `video`, the file, if asked.

    seed: see `evaluate`.
    """
    policy = load_policy(path)
    seed = final_seed(policy.config) if seed is None else seed
    set_up_process(policy.config)
    result = play(
        policy.config,
        policy.agent,
        episodes=episodes,
        seed=seed,
        epsilon=epsilon,
        env_id=env_id,
        num_envs=num_envs,
        workers=workers,
    ).to_dict()
    if video is not None:
        file = record_game(policy.config, policy.agent, video, seed=seed, epsilon=epsilon, env_id=env_id)
        result["video"] = str(file)
    return result
