"""The networks of a rollout as an engine of the core runs them."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from mbpo_fast.models.ensemble import WorldModel
from mbpo_fast.nets.packing import pack_policy, pack_world
from mbpo_fast.ops.network import PackedNetwork

Loaded = TypeVar("Loaded")


class NetworkPolicy(Protocol):
    """What a fused rollout asks of an agent."""

    num_actions: int

    @property
    def network(self) -> nn.Module:
        """The network that acts."""


class RolloutNetworks(Generic[Loaded]):
    """Policy and world model as layer lists, each packed anew only when one of its weights has changed.

    The weights themselves are compared: torch's version counters miss the steps of fused optimisers, and
    comparing takes a quarter of the time of packing, and on a GPU waits once.
    """

    def __init__(
        self, load_policy: Callable[[PackedNetwork], Loaded], load_world: Callable[[PackedNetwork], Loaded]
    ) -> None:
        """What an engine makes of a packed policy and of a packed world model."""
        self._policy, self._world = _Unchanged(load_policy), _Unchanged(load_world)

    def get(
        self, start_shape: tuple[int, ...], policy: NetworkPolicy, model: WorldModel
    ) -> tuple[Loaded, Loaded]:
        """Both, for start frames [B, C, h, w]. ValueError where one does not fit."""
        if len(start_shape) != 4:
            raise ValueError(f"[rollout] expected start u8 [B, C, h, w], got {len(start_shape)} dimensions")
        _, context, height, width = start_shape
        wanted = model.config.context
        if context != wanted:
            raise ValueError(f"[rollout] expected start of the model's context {wanted}, got {context}")
        shape, actions = (height, width), policy.num_actions
        world = self._world.get(
            model.members,
            (shape, context, actions, model.members, model.bf16),
            lambda: pack_world(model.members, shape, context=context, num_actions=actions, bf16=model.bf16),
        )
        network = policy.network
        key = (shape, network, getattr(network, "bf16", False))
        return self._policy.get(network, key, lambda: pack_policy(network, shape)), world


class _Unchanged(Generic[Loaded]):
    """The newest thing made of a network, and the weights that it was made of."""

    def __init__(self, load: Callable[[PackedNetwork], Loaded]) -> None:
        self._load = load
        self._made: tuple[object, Tensor, Loaded] | None = None

    def get(self, network: nn.Module, key: object, pack: Callable[[], PackedNetwork]) -> Loaded:
        """What was made of the same weights and `key`, else something new."""
        weights = _all_weights(network)
        if self._made is not None:
            old_key, old_weights, loaded = self._made
            if old_key == key and torch.equal(old_weights, weights):
                return loaded
        loaded = self._load(pack())
        self._made = key, weights, loaded
        return loaded


@torch.no_grad()
def _all_weights(network: nn.Module) -> Tensor:
    """A copy of every parameter and buffer, one after another: f32 [W] on the network's device."""
    tensors = [*network.parameters(), *network.buffers()]
    return torch.cat([x.reshape(-1).float() for x in tensors]) if tensors else torch.empty(0)
