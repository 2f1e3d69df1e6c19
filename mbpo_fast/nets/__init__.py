"""Networks: torch modules that know neither environments nor losses."""

from mbpo_fast.nets.clock import ClockNet
from mbpo_fast.nets.nature import NatureEncoder, QNetwork
from mbpo_fast.nets.world import GridNet, NatureNet, PixelNet, Prediction

__all__ = ["ClockNet", "GridNet", "NatureEncoder", "NatureNet", "PixelNet", "Prediction", "QNetwork"]
