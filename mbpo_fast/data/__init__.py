"""Memory of real and imagined transitions, and the batches drawn from them."""

from mbpo_fast.data.batch import Batch
from mbpo_fast.data.mixed_sampler import MixedSampler
from mbpo_fast.data.model_buffer import ModelBuffer
from mbpo_fast.data.replay_buffer import ReplayBuffer

__all__ = ["Batch", "MixedSampler", "ModelBuffer", "ReplayBuffer"]
