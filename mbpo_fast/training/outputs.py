"""What a run leaves for people beside its metrics: videos of games, and the best and the final policy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbpo_fast.agents import DDQN, SAC
from mbpo_fast.config import Config
from mbpo_fast.errors import UsageError
from mbpo_fast.training.build import EVALUATION_SEED
from mbpo_fast.training.evaluation import Evaluation
from mbpo_fast.training.frozen import record_game
from mbpo_fast.training.policy import Policy, read_description, save_policy
from mbpo_fast.training.tracking import Tracker


class Outputs:
    """Writes to RUN/videos and RUN/policies, and tells the tracker. The run itself never reads them."""

    def __init__(self, config: Config, run_dir: Path, agent: DDQN | SAC, tracker: Tracker) -> None:
        self.config, self.run_dir, self.agent, self.tracker = config, run_dir, agent, tracker

    def training_video(self, step: int) -> None:
        """A game of the policy as it is now, frozen."""
        self._record(f"train_{step:09d}", "train", step, self.config.seed + EVALUATION_SEED)

    def evaluated(self, step: int, result: Evaluation) -> None:
        """After an evaluation while training: a video, and the policy if it is the best so far."""
        if self.config.video.evaluations:
            self._record(f"eval_{step:09d}", "eval", step, self.config.seed + EVALUATION_SEED)
        if result.mean > self._best_mean():
            self._save("best", step, result.to_dict())

    def finished(self, step: int, seed: int, result: Mapping[str, Any] | None) -> None:
        """After the final evaluation: its video, and the policy."""
        if self.config.video.final:
            self._record("final", "final", step, seed)
        self._save("final", step, result)

    def _record(self, name: str, tag: str, step: int, seed: int) -> None:
        path = record_game(self.config, self.agent, self.run_dir / "videos" / name, seed=seed)
        self.tracker.video(step, tag, path)

    def _save(self, alias: str, step: int, result: Mapping[str, Any] | None) -> None:
        policy = Policy(self.config, self.agent, step, result)
        self.tracker.policy(save_policy(policy, self.run_dir / "policies" / alias), alias, step)

    def _best_mean(self) -> float:
        """From the folder and not from memory: it outlives an interruption."""
        try:
            return float(read_description(self.run_dir / "policies" / "best")["evaluation"]["mean"])
        except (UsageError, KeyError, TypeError):
            return float("-inf")
