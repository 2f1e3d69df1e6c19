"""A game small enough for a world model to learn in a second, and such a model."""

import numpy as np

from mbpo_fast.data import ReplayBuffer
from mbpo_fast.models import ModelConfig, WorldModel

SIDE, LANES = 36, 2
SMALL = {
    "context": 4, "width": 8, "depth": 1, "outcome_width": 8, "batch_size": 8, "holdout_ratio": 0.3,
    "first_updates": 6, "updates": 4, "bf16": False, "check_every": 2, "holdout_rows": 64,
    "gate": {"min_holdout": 64}, "learning_rate": 1e-3, "random_shift": 0,
}  # fmt: skip


def replay(steps: int = 150, seed: int = 0, episode: int = 12) -> ReplayBuffer:
    """A dot that moves right by its action; reward when it passes the middle; ends after `episode` steps."""
    buffer = ReplayBuffer(1000, LANES, frame_shape=(SIDE, SIDE), seed=seed, holdout_ratio=0.3)
    rng = np.random.default_rng(seed)
    x = np.zeros(LANES, int)
    age = 0
    for step in range(steps):
        first = step % (episode + 1) == 0
        action = rng.integers(0, 3, LANES)
        x = np.zeros(LANES, int) if first else x + action
        age = 0 if first else age + 1
        frame = np.zeros((LANES, SIDE, SIDE), np.uint8)
        for lane in range(LANES):
            frame[lane, 8:16, x[lane] : x[lane] + 4] = 200
        reward = ((x >= 10) & (x - action < 10) & ~first).astype(np.float32)
        end = np.full(LANES, age == episode)
        buffer.add(frame, action, reward, end, np.zeros(LANES, bool), np.full(LANES, first))
    return buffer


def model(**settings: object) -> WorldModel:
    return WorldModel(ModelConfig(**(SMALL | settings)), frame_shape=(SIDE, SIDE), num_actions=3, seed=1)
