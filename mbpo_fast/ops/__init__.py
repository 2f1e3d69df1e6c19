"""Front doors to the compiled core."""

from mbpo_fast.ops.context_maps import mean_steps, movement_cells
from mbpo_fast.ops.info import build_info, select_isa
from mbpo_fast.ops.preprocess import look_up_gray, preprocess_frames, shift_frames
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
    "look_up_gray",
    "mean_steps",
    "movement_cells",
    "preprocess_frames",
    "random_integers",
    "random_uniform",
    "random_words",
    "random_words_at",
    "shift_frames",
]

select_isa()
