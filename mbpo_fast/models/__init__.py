"""The world model: ensemble, trainer, gate and rollouts."""

from mbpo_fast.models.config import ModelConfig
from mbpo_fast.models.ensemble import WorldModel
from mbpo_fast.models.gate import Gate, GateConfig
from mbpo_fast.models.rollout import RolloutEngine
from mbpo_fast.models.trainer import ModelTrainer

__all__ = ["Gate", "GateConfig", "ModelConfig", "ModelTrainer", "RolloutEngine", "WorldModel"]
