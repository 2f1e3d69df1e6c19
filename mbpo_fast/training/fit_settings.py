"""The settings of a fit of the world model: the policy's own, but for the model's and the machine's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mbpo_fast.config import Config, merged_config
from mbpo_fast.errors import UsageError

NUM_ENVS = 16
"""Lanes that collect: half of them play by chance."""
LEAST_CAPACITY = 10_000
"""Room for the longest return or rollout that any policy learns from."""
FREE = ("model", "seed", "device", "threads", "cuda_graphs", "checkpoint")
"""Settings, or groups, that a fit may choose; the rest describes the games of the policy."""


@dataclass(frozen=True)
class FitOptions:
    """`steps` agent steps of play are learned from in rounds of `check_every` updates, `updates` at least.

    Half of the lanes play by the agent, with `epsilon` of its actions at random, half by chance.
    """

    steps: int = 50_000
    updates: int = 4_000
    check_every: int = 500
    epsilon: float = 0.05

    def fixed(self) -> dict[str, float]:
        """What a fit that goes on may not change and its settings do not tell."""
        return {"steps": self.steps, "epsilon": self.epsilon}


def fit_config(policy: Config, overrides: Mapping[str, str], options: FitOptions) -> Config:
    """The settings of a fit to games of this policy; `overrides` as in `load_config`.

    UsageError for a setting that is not a fit's to choose.
    """
    config = merged_config([("settings of the policy", _tree(policy, options))], overrides)
    for key in overrides:
        if key.replace("-", "_").partition(".")[0] not in FREE:
            free = ", ".join(FREE)
            raise UsageError(f"--{key}: expected a setting of {free}; the others are those of the policy")
    if config.model.kind != "learned":
        raise UsageError(f"--model.kind: expected learned, got {config.model.kind}")
    return config


def _tree(policy: Config, options: FitOptions) -> dict[str, Any]:
    """The policy's settings, with a fresh model section, room for all steps and rounds of equal length."""
    content = policy.model_dump(mode="json")
    content["model"] = {
        "first_updates": options.check_every,
        "updates": options.check_every,
        "check_every": options.check_every,
        "patience": options.updates,
    }
    content["env"] |= {"num_envs": NUM_ENVS, "workers": 0, "clip_reward": True}  # models predict signs
    # Every reset has a row of its own, so that episodes of one step would need as much.
    content["replay"]["capacity"] = max(2 * options.steps, LEAST_CAPACITY)
    # Nobody learns to act here; the settings still have to be those of a run.
    content |= {"cuda_graphs": False}  # of the machine that trained the policy
    content["training"] |= {"real_ratio": 0.5, "learning_starts": 100 * NUM_ENVS}
    return content
