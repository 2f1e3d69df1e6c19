"""Networks: torch modules that know neither environments nor losses."""

from mbpo_fast.nets.nature import NatureEncoder, QNetwork
from mbpo_fast.nets.world import FramePrediction, GridWorldNet, NatureWorldNet, WorldNet

__all__ = ["FramePrediction", "GridWorldNet", "NatureEncoder", "NatureWorldNet", "QNetwork", "WorldNet"]
