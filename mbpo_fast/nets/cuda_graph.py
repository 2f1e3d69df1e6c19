"""A gradient step as one CUDA graph: one launch in place of hundreds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

Results = dict[str, Tensor]
WARMUP = 3
"""Calls that run as they are, for they allocate the optimiser's state and choose kernels."""
MOST_FORMS = 16
"""Forms of the inputs that are captured: PPO's batches can have a length of their own in every round."""


class Graphs(Protocol):
    """What captures work and repeats it."""

    def warm(self, run: Callable[[], Results]) -> Results:
        """`run` as a capture will see it, but done at once."""

    def capture(self, run: Callable[[], Results]) -> Callable[[], Results]:
        """What repeats the work of `run`, which is not done now, and gives the same tensors every time."""


class CudaGraphs:
    """CUDA graphs on one device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        # Of all captures: they run one after the other, and their results are copied at once.
        self._pool = torch.cuda.graph_pool_handle()

    def warm(self, run: Callable[[], Results]) -> Results:
        """See `Graphs`: on a stream aside, for a capture cannot be on the default one."""
        with torch.cuda.device(self._device):
            here = torch.cuda.current_stream()
            self._aside.wait_stream(here)
            with torch.cuda.stream(self._aside):
                results = run()
            here.wait_stream(self._aside)
        return results

    def capture(self, run: Callable[[], Results]) -> Callable[[], Results]:
        """See `Graphs`."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), torch.cuda.graph(graph, self._pool, self._aside):
            results = run()

        def repeat() -> Results:
            graph.replay()
            return results

        return repeat


class GraphedStep:
    """`step(*tensors)`, captured once for each form of its inputs where there are `graphs`; else called.

    So it is called where there have been `MOST_FORMS` others.

    `step` must launch the same work every time: it waits for nothing, draws nothing, and reads no number that
    changes. What it replaces, weights or an optimiser's state, must be told by `forget`.
    """

    def __init__(self, step: Callable[..., Results], graphs: Graphs | None) -> None:
        self._step, self._graphs = step, graphs
        self._held: dict[Any, _Held] = {}

    def __call__(self, *inputs: Tensor) -> Results:
        """The results of `step`, of their own memory."""
        if self._graphs is None:
            return self._step(*inputs)
        form = tuple((x.shape, x.stride(), x.dtype) for x in inputs)
        if form not in self._held and len(self._held) == MOST_FORMS:
            return self._graphs.warm(lambda: self._step(*inputs))
        held = self._held.setdefault(form, _Held())
        if held.warmed < WARMUP:
            held.warmed += 1
            return self._graphs.warm(lambda: self._step(*inputs))
        if held.repeat is None:
            held.inputs = own = [torch.empty_like(x) for x in inputs]
            held.repeat = self._graphs.capture(lambda: self._step(*own))
        for own_input, given in zip(held.inputs, inputs, strict=True):
            own_input.copy_(given, non_blocking=True)
        return {name: value.clone() for name, value in held.repeat().items()}

    def forget(self) -> None:
        """Capture anew: weights or an optimiser's state lie elsewhere now."""
        self._held.clear()


@dataclass
class _Held:
    """Calls so far, and the capture with its inputs' memory."""

    warmed: int = 0
    inputs: list[Tensor] = field(default_factory=list)
    repeat: Callable[[], Results] | None = None


def make_graphs(wanted: bool, device: torch.device) -> Graphs | None:
    """ValueError where graphs are wanted on a device that has none."""
    if wanted and device.type != "cuda":
        raise ValueError(f"cuda_graphs: expected a CUDA device, got {device.type}")
    return CudaGraphs(device) if wanted else None
