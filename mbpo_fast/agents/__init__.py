"""Agents: act on observations, learn from batches; they know no environment, file or logger."""

from mbpo_fast.agents.ddqn import DDQN, DDQNConfig
from mbpo_fast.agents.gae import generalized_advantages
from mbpo_fast.agents.kinds import AgentConfig, make_agent
from mbpo_fast.agents.ppo import PPO, Decision, PolicyBatch, PPOConfig
from mbpo_fast.agents.protocol import Agent, OffPolicyAgent
from mbpo_fast.agents.sac import SAC, SACConfig

__all__ = [
    "DDQN",
    "PPO",
    "SAC",
    "Agent",
    "AgentConfig",
    "DDQNConfig",
    "Decision",
    "OffPolicyAgent",
    "PPOConfig",
    "PolicyBatch",
    "SACConfig",
    "generalized_advantages",
    "make_agent",
]
