"""What every learner does beside its losses: networks from a seed, the optimiser's step, its state."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mbpo_fast.nets.cuda_graph import GraphedStep, make_graphs
from mbpo_fast.nets.optimizer_state import load_optimizer_state, optimizer_state

Net = TypeVar("Net", bound=nn.Module)


class Learner(ABC):
    """Networks for u8 stacks [B, S, h, w] and A actions, and the one optimiser that moves them."""

    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        *,
        frame_shape: tuple[int, int],
        num_actions: int,
        seed: int,
        device: torch.device | str,
        cuda_graphs: bool,
    ) -> None:
        self.frame_shape = frame_shape
        self.num_actions = num_actions
        self.seed = seed
        self.device = torch.device(device)
        self.gradient_steps = 0
        self.cuda_graphs = cuda_graphs
        self._graphed_step = GraphedStep(self._gradient_step, make_graphs(cuda_graphs, self.device))

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """The network that acts."""

    @abstractmethod
    def _gradient_step(self, *columns: Tensor) -> dict[str, Tensor]:
        """All work of an update that is the same every time; results without a gradient."""

    @abstractmethod
    def _saved(self) -> dict[str, nn.Module]:
        """The networks that the next update depends on, by their names in a checkpoint."""

    def _seeded(self, build: Callable[[], Net], seed: int) -> Net:
        """What `build` makes, its weights by `seed` alone, on the device and channels last."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = build()
        return net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _descend(self, loss: Tensor, *clipped: Iterable[Tensor], max_grad_norm: float) -> list[Tensor]:
        """One step down `loss`; the norms of each group of parameters before they were clipped."""
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norms = [nn.utils.clip_grad_norm_(parameters, max_grad_norm) for parameters in clipped]
        self.optimizer.step()
        return norms

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on, as tensors and plain numbers."""
        nets = {name: net.state_dict() for name, net in self._saved().items()}
        return nets | {"optimizer": optimizer_state(self.optimizer), "gradient_steps": self.gradient_steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict` for an agent of the same settings."""
        for name, net in self._saved().items():
            net.load_state_dict(state[name])
        load_optimizer_state(self.optimizer, state["optimizer"])
        self._graphed_step.forget()
        self.gradient_steps = int(state["gradient_steps"])

    def policy_state_dict(self) -> dict[str, Tensor]:
        """Weights of the network that acts: all that a frozen policy needs."""
        return dict(self.network.state_dict())

    def load_policy_state_dict(self, weights: Mapping[str, Tensor]) -> None:
        """Inverse of `policy_state_dict`, to act and not to learn on; RuntimeError for other weights."""
        self.network.load_state_dict(weights)
