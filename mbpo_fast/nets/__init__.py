"""Networks: torch modules that know neither environments nor losses."""

from mbpo_fast.nets.actor_critic import ActorCritic
from mbpo_fast.nets.clock import ClockNet
from mbpo_fast.nets.impala import ImpalaEncoder
from mbpo_fast.nets.nature import NatureEncoder
from mbpo_fast.nets.policy import PolicyNetwork
from mbpo_fast.nets.q_network import QNetwork
from mbpo_fast.nets.world import GridNet, NatureNet, PixelNet, Prediction

__all__ = [
    "ActorCritic",
    "ClockNet",
    "GridNet",
    "ImpalaEncoder",
    "NatureEncoder",
    "NatureNet",
    "PixelNet",
    "PolicyNetwork",
    "Prediction",
    "QNetwork",
]
