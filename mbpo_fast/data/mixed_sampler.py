"""Batches of real and imagined transitions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mbpo_fast.data.batch import Batch
from mbpo_fast.data.futures import replayed_futures
from mbpo_fast.data.model_buffer import ModelBuffer
from mbpo_fast.data.prioritized import PrioritizedReplayBuffer
from mbpo_fast.data.replay_buffer import ReplayBuffer


class MixedSampler:
    """Mixes within every batch, as the original MBPO does (jannerm/mbpo): real rows first, then the rest.

    Attributes:
        real_rows: real rows drawn so far.
        newest_real_rows: real rows of the newest batch.
        synthetic_rows: imagined rows drawn so far.

    """

    def __init__(
        self,
        replay: ReplayBuffer,
        model_buffer: ModelBuffer | None,
        batch_size: int,
        real_ratio: float,
        *,
        context: int = 4,
        beta: float = 0.5,
        model_n_step: int | None = None,
    ) -> None:
        """`real_ratio` in [0, 1] of `batch_size` rows are real, rounded down, but one at least.

        Without a model buffer every row is real. `beta` is the exponent of the importance weights that a
        prioritised replay gives its rows; imagined rows have weight 1. Imagined returns run over
        `model_n_step` steps of their branch; None: over as many as the real ones.
        """
        if batch_size < 1:
            raise ValueError(f"[MixedSampler] expected batch_size >= 1, got {batch_size}")
        if not 0.0 <= real_ratio <= 1.0:
            raise ValueError(f"[MixedSampler] expected 0 <= real_ratio <= 1, got {real_ratio}")
        if model_buffer is not None and replay.frame_shape != model_buffer.frame_shape:
            raise ValueError(
                f"[MixedSampler] expected frames of {replay.frame_shape}, got {model_buffer.frame_shape}"
            )
        if model_buffer is not None and replay.device is not model_buffer.device:
            raise ValueError("[MixedSampler] expected the frames of both buffers on one device")
        self.replay, self.model_buffer = replay, model_buffer
        self.batch_size, self.real_ratio, self.context = batch_size, real_ratio, context
        self.real_rows = self.synthetic_rows = self.newest_real_rows = 0
        self._draw_settings: dict[str, Any] = (
            {"beta": beta} if isinstance(replay, PrioritizedReplayBuffer) else {}
        )
        self.model_n_step = model_n_step

    def real_part(self, use_model: bool) -> int:
        """Real rows of the next batch: all of them while the gate is shut or nothing is imagined."""
        if not use_model or self.real_ratio == 1.0 or not self.model_buffer:
            return self.batch_size
        return max(1, int(self.batch_size * self.real_ratio))

    def sample(
        self,
        n_step: int = 1,
        gamma: float = 0.99,
        use_model: bool = True,
        *,
        future_steps: int = 0,
        out: Batch | None = None,
    ) -> Batch:
        """A batch of `batch_size` rows, into `out` where given; its ids are those of each part's own buffer.

        With `future_steps`, `futures` holds so many steps after every real row. ValueError where the replay
        buffer has no valid transition.
        """
        if out is None:
            shape = self.replay.frame_shape
            out = Batch.empty(self.batch_size, self.context, shape, device=self.replay.device)
        elif len(out) != self.batch_size:
            raise ValueError(
                f"[MixedSampler.sample] expected out with {self.batch_size} rows, got {len(out)}"
            )
        real = self.real_part(use_model)
        rows = out[:real]
        self.replay.sample(real, n_step, gamma=gamma, context=self.context, out=rows, **self._draw_settings)
        if self.model_buffer is not None and real < self.batch_size:
            steps = n_step if self.model_n_step is None else self.model_n_step
            self.model_buffer.sample(
                self.batch_size - real, steps, gamma=gamma, context=self.context, out=out[real:]
            )
        if future_steps:
            out.futures = replayed_futures(self.replay, rows.ids, future_steps, context=self.context)
        self.newest_real_rows = real
        self.real_rows += real
        self.synthetic_rows += self.batch_size - real
        return out

    def update_priorities(self, batch: Batch, priorities: npt.NDArray[np.float32]) -> None:
        """Tells a prioritised replay how surprising the rows of the newest batch were: f32 [batch_size].

        Imagined rows are passed over. ValueError where the replay is not prioritised, or a priority not
        positive and finite.
        """
        if not isinstance(self.replay, PrioritizedReplayBuffer):
            raise ValueError("[MixedSampler.update_priorities] expected a prioritised replay")
        real = self.newest_real_rows
        self.replay.update_priorities(batch.ids[:real], priorities[:real])

    def state(self) -> dict[str, int]:
        """The counters."""
        return {"real_rows": self.real_rows, "synthetic_rows": self.synthetic_rows}

    def restore(self, state: Mapping[str, int]) -> None:
        """Takes over the counters that `state()` gave."""
        self.real_rows, self.synthetic_rows = state["real_rows"], state["synthetic_rows"]
