"""Model-based policy optimization from pixels, with a C++ core.

The public names below are stable; everything else may move between releases.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mbpo_fast.data import ModelBuffer, ReplayBuffer
    from mbpo_fast.envs import make_env, make_vec
    from mbpo_fast.models import RolloutEngine
    from mbpo_fast.models.backends import rollout
    from mbpo_fast.ops import build_info, preprocess_frames
    from mbpo_fast.training.frozen import evaluate, load_agent

_HOMES = {
    "ModelBuffer": "mbpo_fast.data",
    "ReplayBuffer": "mbpo_fast.data",
    "RolloutEngine": "mbpo_fast.models",
    "build_info": "mbpo_fast.ops",
    "evaluate": "mbpo_fast.training.frozen",
    "load_agent": "mbpo_fast.training.frozen",
    "make_env": "mbpo_fast.envs",
    "make_vec": "mbpo_fast.envs",
    "preprocess_frames": "mbpo_fast.ops",
    "rollout": "mbpo_fast.models.backends",
}

__all__ = [
    "ModelBuffer",
    "ReplayBuffer",
    "RolloutEngine",
    "__version__",
    "build_info",
    "evaluate",
    "load_agent",
    "make_env",
    "make_vec",
    "preprocess_frames",
    "rollout",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that `import mbpo_fast` and `--help` stay fast and need no extra.
    if name not in _HOMES:
        raise AttributeError(f"module 'mbpo_fast' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
