"""Torch networks as layer lists, so that the fused rollout can run them."""

from mbpo_fast.nets.packing.policies import pack_policy, samples_actions
from mbpo_fast.nets.packing.worlds import pack_world

__all__ = ["pack_policy", "pack_world", "samples_actions"]
