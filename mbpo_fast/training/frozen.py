"""A trained policy, frozen: whole games, a video, loading from a checkpoint, the short Python API."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.agents import DDQN
from mbpo_fast.config import Config, load_config
from mbpo_fast.envs import make_env
from mbpo_fast.errors import UsageError
from mbpo_fast.ops import Stream
from mbpo_fast.training.build import build_agent, build_eval_env, set_threads
from mbpo_fast.training.checkpoint import CheckpointStore
from mbpo_fast.training.evaluation import Evaluation, evaluate_policy
from mbpo_fast.training.machine import available_cores
from mbpo_fast.training.video import write_video

CONFIG_FILE = "config.yaml"
MAX_VIDEO_STEPS = 4_000
"""Agent steps of a video at most: some four minutes."""


def play(
    config: Config,
    agent: DDQN,
    *,
    episodes: int,
    seed: int,
    epsilon: float | None = None,
    env_id: str | None = None,
    num_envs: int | None = None,
) -> Evaluation:
    """Whole games of a frozen policy under a run's settings; see `evaluate_policy`."""
    epsilon = config.evaluation.epsilon if epsilon is None else epsilon
    lanes = min(num_envs or config.evaluation.num_envs, episodes)
    env = build_eval_env(config, num_envs=lanes, workers=min(available_cores(), lanes), env_id=env_id)
    protocol = f"{env_id or config.env.id}, whole games, raw scores, epsilon {epsilon:g}, seed {seed}"
    try:
        return evaluate_policy(
            agent,
            env,
            episodes=episodes,
            seed=seed,
            epsilon=epsilon,
            protocol=protocol,
        )
    finally:
        env.close()


def record_game(config: Config, agent: DDQN, path: Path, *, seed: int) -> Path:
    """A video of one whole game of the frozen policy, in the emulator's colours; returns the file."""
    settings = config.env.env_settings() | {"episodic_life": False, "clip_reward": False}
    env = make_env(config.env.id, seed=seed, render_mode="rgb_array", **settings)
    obs, info = env.reset()
    frames = [env.render()]
    step = 0
    while not info["game_over"] and step < MAX_VIDEO_STEPS:
        action = agent.act(obs[None], config.evaluation.epsilon, seed=seed, stream=Stream.EXPLORE, step=step)
        obs, _, _, _, info = env.step(int(action[0]))
        frames.append(env.render())
        step += 1
    env.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, frames, fps=15)


class FrozenAgent:
    """A trained policy that acts on observations and learns no more."""

    def __init__(self, agent: DDQN, config: Config) -> None:
        self._agent, self.config = agent, config

    def act(self, obs: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Greedy actions i64 [B] for stacks u8 [B, 4, h, w], or one action i64 [] for one stack."""
        single = obs.ndim == 3
        actions = self._agent.act(
            np.ascontiguousarray(obs[None] if single else obs), 0.0, seed=0, stream=Stream.EXPLORE, step=0
        )
        return np.asarray(actions[0]) if single else actions


def load_agent(path: str | Path) -> FrozenAgent:
    """The policy of a run's newest checkpoint, or of a checkpoint folder; see `FrozenAgent.act`.

    Raises UsageError where there is no run, no checkpoint, or a damaged one.
    """
    config, agent = _load(Path(path))
    return FrozenAgent(agent, config)


def _load(path: Path) -> tuple[Config, DDQN]:
    checkpoint = path if (path / "manifest.json").exists() else None
    run_dir = path.parent.parent if checkpoint else path
    if not (run_dir / CONFIG_FILE).exists():
        raise UsageError(f"{path}: expected a run or a checkpoint folder, found no config.yaml")
    config = load_config([str(run_dir / CONFIG_FILE)], {})
    store = CheckpointStore(run_dir / "checkpoints", keep=config.checkpoint.keep)
    checkpoint = checkpoint or store.latest()
    if checkpoint is None:
        raise UsageError(f"{path}: expected a checkpoint, found none yet")
    env = build_eval_env(config, num_envs=1, workers=0)
    agent = build_agent(config, env)
    env.close()
    agent.load_state_dict(store.load(checkpoint, {})["trainer"]["parts"]["agent"])
    return config, agent


def evaluate(
    agent: FrozenAgent,
    env_id: str | None = None,
    episodes: int = 100,
    seed: int = 0,
    epsilon: float | None = None,
) -> dict[str, Any]:
    """Whole games of a loaded agent, on its own game or another; the keys are those of `Evaluation`."""
    set_threads(agent.config)
    return play(
        agent.config, agent._agent, episodes=episodes, seed=seed, epsilon=epsilon, env_id=env_id
    ).to_dict()


def evaluate_run(
    path: Path, *, episodes: int, seed: int, epsilon: float | None, env_id: str | None, num_envs: int
) -> dict[str, Any]:
    """Whole games of a run's or a checkpoint's frozen policy; the keys are those of `Evaluation`."""
    config, agent = _load(path)
    set_threads(config)
    return play(
        config, agent, episodes=episodes, seed=seed, epsilon=epsilon, env_id=env_id, num_envs=num_envs
    ).to_dict()
