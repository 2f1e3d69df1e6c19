"""Agents: act on observations, learn from batches; they know no environment, file or logger."""

from mbpo_fast.agents.ddqn import DDQN, DDQNConfig
from mbpo_fast.agents.gae import generalized_advantages
from mbpo_fast.agents.kinds import AgentConfig, make_agent
from mbpo_fast.agents.ppo import PPO, Decision, PolicyBatch, PPOConfig
from mbpo_fast.agents.protocol import Agent, OffPolicyAgent

__all__ = [
    "DDQN",
    "PPO",
    "Agent",
    "AgentConfig",
    "DDQNConfig",
    "Decision",
    "OffPolicyAgent",
    "PPOConfig",
    "PolicyBatch",
    "generalized_advantages",
    "make_agent",
]
