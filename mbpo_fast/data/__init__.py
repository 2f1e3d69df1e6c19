"""Memory of real and imagined transitions, and the batches drawn from them."""

from mbpo_fast.data.batch import Batch, Futures
from mbpo_fast.data.mixed_sampler import MixedSampler
from mbpo_fast.data.model_buffer import ModelBuffer
from mbpo_fast.data.prefetch import Prefetcher
from mbpo_fast.data.prioritized import PrioritizedReplayBuffer
from mbpo_fast.data.replay_buffer import ReplayBuffer
from mbpo_fast.data.state_store import StateStore

__all__ = [
    "Batch",
    "Futures",
    "MixedSampler",
    "ModelBuffer",
    "Prefetcher",
    "PrioritizedReplayBuffer",
    "ReplayBuffer",
    "StateStore",
]
