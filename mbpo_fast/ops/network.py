"""Networks as lists of layers, which the core runs without torch: the input of the fused rollout."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mbpo_fast import _core
from mbpo_fast.ops.network_builder import Floats, NetworkBuilder, refuse


class PackedNetwork:
    """Members of one architecture, in the core's layout for the instruction set in use.

    Immutable; safe to share between threads. `outputs`: the registers whose values come out. `parts`: what
    the core makes a network of, f32 [E, W] weights among them.
    """

    def __init__(self, members: Sequence[NetworkBuilder], outputs: Sequence[int]) -> None:
        if not members:
            refuse("at least one member", "none")
        first = members[0]
        table = first.table()
        for i, member in enumerate(members):
            same = (member.context, member.frame_shape, member.actions) == (
                first.context,
                first.frame_shape,
                first.actions,
            )
            if not same or not np.array_equal(member.table(), table):
                refuse("members of one architecture", f"another one in member {i}")
        self.context, self.frame_shape, self.actions = first.context, first.frame_shape, first.actions
        self.shapes = [first.shape(output) for output in outputs]
        weights = np.stack([member.weights() for member in members])
        self.parts = (
            table,
            weights,
            first.context,
            *first.frame_shape,
            first.actions,
            np.array(outputs, np.int64),
        )
        self.core = _core.Network(*self.parts)

    @property
    def members(self) -> int:
        """E."""
        return self.core.members

    @property
    def multiplications(self) -> int:
        """Of one row, by the plain algorithms."""
        return self.core.multiplications

    def __call__(
        self,
        context: npt.NDArray[np.uint8],
        action: npt.NDArray[np.int64],
        member: npt.NDArray[np.int64],
        pool: "_core.ThreadPool | None" = None,
    ) -> list[Floats]:
        """The outputs f32 [B, h, w, c] of context u8 [B, C, h, w], action i64 [B], row b by member[b]."""
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        out = np.empty((len(context), sum(sizes)), np.float32)
        self.core.evaluate(pool or _core.ThreadPool(1), context, action, member, out)
        parts = np.split(out, np.cumsum(sizes)[:-1], axis=1)
        return [part.reshape(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)]
