"""Networks: torch modules that know neither environments nor losses."""

from mbpo_fast.nets.nature import NatureEncoder, QNetwork
from mbpo_fast.nets.policy import PolicyNetwork
from mbpo_fast.nets.world import GridNet, NatureNet, PixelNet, Prediction

__all__ = ["GridNet", "NatureEncoder", "NatureNet", "PixelNet", "PolicyNetwork", "Prediction", "QNetwork"]
