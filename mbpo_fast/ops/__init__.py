"""Front doors to the compiled core."""

from mbpo_fast.ops.info import build_info
from mbpo_fast.ops.preprocess import preprocess_frames
from mbpo_fast.ops.random import (
    Stream,
    random_integers,
    random_uniform,
    random_words,
    random_words_at,
)

__all__ = [
    "Stream",
    "build_info",
    "preprocess_frames",
    "random_integers",
    "random_uniform",
    "random_words",
    "random_words_at",
]
