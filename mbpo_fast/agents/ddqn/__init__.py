"""Double DQN with the switches that make it data-efficient: docs/algorithms/ddqn.md."""

from mbpo_fast.agents.ddqn.agent import DDQN
from mbpo_fast.agents.ddqn.config import DDQNConfig

__all__ = ["DDQN", "DDQNConfig"]
