"""The world model: ensemble, trainer, gate and rollouts."""

from mbpo_fast.models.backends import RolloutConfig, make_rollout_engine
from mbpo_fast.models.config import ModelConfig
from mbpo_fast.models.ensemble import WorldModel
from mbpo_fast.models.fused import FusedRolloutEngine
from mbpo_fast.models.gate import Gate, GateConfig
from mbpo_fast.models.gpu_rollout import GpuRolloutEngine
from mbpo_fast.models.rollout import Engine, RolloutEngine
from mbpo_fast.models.trainer import ModelTrainer

__all__ = [
    "Engine",
    "FusedRolloutEngine",
    "Gate",
    "GateConfig",
    "GpuRolloutEngine",
    "ModelConfig",
    "ModelTrainer",
    "RolloutConfig",
    "RolloutEngine",
    "WorldModel",
    "make_rollout_engine",
]
