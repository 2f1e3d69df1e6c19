"""Agents: act on observations, learn from batches; they know no environment, file or logger."""

from mbpo_fast.agents.ddqn import DDQN, DDQNConfig
from mbpo_fast.agents.sac import SAC, SACConfig

__all__ = ["DDQN", "SAC", "DDQNConfig", "SACConfig"]
