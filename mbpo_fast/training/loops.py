"""The loop of each learner."""

from mbpo_fast.agents import PPOConfig
from mbpo_fast.config import Config
from mbpo_fast.training.build import build
from mbpo_fast.training.loop import Loop
from mbpo_fast.training.mbpo import Trainer
from mbpo_fast.training.on_policy import OnPolicyTrainer, build_on_policy
from mbpo_fast.training.timer import PhaseTimer


def build_loop(config: Config) -> Loop:
    """The loop that these settings ask for, over its parts as they are before the first step."""
    if isinstance(config.agent, PPOConfig):
        return OnPolicyTrainer(build_on_policy(config), PhaseTimer())
    return Trainer(build(config), PhaseTimer())
