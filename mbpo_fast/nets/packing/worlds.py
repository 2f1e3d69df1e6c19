"""World models' networks as layer lists: the map of changes, and the logits of reward and end."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from torch import nn

from mbpo_fast.nets.clock import ClockNet
from mbpo_fast.nets.packing.arrays import array_of, shift_by_action, weights_of
from mbpo_fast.nets.packing.clock import pack_clock_net
from mbpo_fast.nets.packing.policies import pack_nature_convolutions
from mbpo_fast.nets.world import GridNet, NatureNet
from mbpo_fast.ops.network import PackedNetwork
from mbpo_fast.ops.network_builder import Film, NetworkBuilder


def pack_world(
    members: Iterable[nn.Module],
    frame_shape: tuple[int, int],
    *,
    context: int,
    num_actions: int,
    bf16: bool = False,
) -> PackedNetwork:
    """An ensemble's networks: the map of changes, then the logits of reward and end [B, 1, 1, 4].

    `bf16`: products of bfloat16 where the processor has fast ones.

    ValueError where a network is not supported, or the members differ in more than their weights.
    """
    builders, outputs = [], [0, 0]
    for net in members:
        pack = _WORLD_NETWORKS.get(type(net))
        if pack is None:
            names = ", ".join(kind.__name__ for kind in _WORLD_NETWORKS)
            raise ValueError(f"[rollout] expected a world model of {names}, got {type(net).__name__}")
        builder = NetworkBuilder(context, frame_shape, num_actions, bf16=bf16)
        outputs = list(pack(net, builder))
        builders.append(builder)
    return PackedNetwork(builders, outputs)


def _film_of(module: Any) -> Film:
    return Film(array_of(module.scale), array_of(module.shift))


def _pack_grid_net(net: GridNet, builder: NetworkBuilder) -> tuple[int, int]:
    # `GridNet.input_scale`
    cells = builder.frames(builder.context, cell=net.GRID, scale=2.0 / 255.0, difference_scale=4.0 / 255.0)
    x = builder.convolution(cells, *weights_of(net.stem))
    for block in net.blocks:
        hidden = builder.convolution(
            builder.relu(x), *weights_of(block.first), padding=1, film=_film_of(block.film), relu=True
        )
        x = builder.convolution(hidden, *weights_of(block.second), padding=1, add=x)
    head = builder.convolution(builder.relu(x), *weights_of(net.head))
    outcome = net.outcome
    older = builder.shapes[cells][2] - outcome.first.in_channels
    y = builder.convolution(cells, *weights_of(outcome.first), padding=1, first=older)
    norm = outcome.first_norm
    y = builder.norm(y, norm.num_groups, *weights_of(norm), film=_film_of(outcome.film), relu=True)
    y = builder.convolution(y, *weights_of(outcome.second), padding=1)
    y = builder.norm(y, outcome.second_norm.num_groups, *weights_of(outcome.second_norm), relu=True)
    return head, builder.pool(builder.convolution(y, *weights_of(outcome.out)), "logmeanexp")


def _pack_nature_net(net: NatureNet, builder: NetworkBuilder) -> tuple[int, int]:
    x = pack_nature_convolutions(net.encoder.convs, builder)
    x = builder.linear(x, *weights_of(net.features[0]), relu=True)
    # The action's column of the weight is a shift by the action.
    hidden: Any = net.hidden[0]
    weight, bias = weights_of(hidden)
    film = shift_by_action(weight[:, -net.num_actions :].T)
    features = np.ascontiguousarray(weight[:, : -net.num_actions])
    x = builder.linear(x, features, bias, film=film, relu=True)
    logits = builder.linear(x, *weights_of(net.out))
    return _pack_decoder(net.decoder, builder, x), logits


def _pack_decoder(decoder: Any, builder: NetworkBuilder, x: int) -> int:
    grid = decoder[2].unflattened_size
    if grid[1] != grid[2]:
        raise ValueError(f"[rollout] expected a nature world model of square frames, got a grid {grid[1:]}")
    x = builder.depth_to_space(builder.linear(x, *weights_of(decoder[0]), relu=True), grid[1])
    convs = [module for module in decoder if isinstance(module, nn.ConvTranspose2d)]
    for conv in convs[:-1]:
        x = builder.transposed_convolution(x, *weights_of(conv), stride=conv.stride[0], relu=True)
    return builder.transposed_convolution(x, *weights_of(convs[-1]), stride=convs[-1].stride[0], cells=True)


_WORLD_NETWORKS: dict[type[nn.Module], Callable[[Any, NetworkBuilder], tuple[int, int]]] = {
    ClockNet: pack_clock_net,
    GridNet: _pack_grid_net,
    NatureNet: _pack_nature_net,
}
