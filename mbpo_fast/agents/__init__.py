"""Agents: act on observations, learn from batches; they know no environment, file or logger."""

from mbpo_fast.agents.ddqn import DDQN, DDQNConfig

__all__ = ["DDQN", "DDQNConfig"]
