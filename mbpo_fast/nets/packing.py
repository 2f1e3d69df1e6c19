"""Torch networks as layer lists, so that the fused rollout can run them."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mbpo_fast.nets.nature import NatureEncoder
from mbpo_fast.nets.q_network import QNetwork
from mbpo_fast.nets.world import GridNet, NatureNet
from mbpo_fast.ops.network import PackedNetwork
from mbpo_fast.ops.network_builder import Film, NetworkBuilder


def pack_policy(net: nn.Module, frame_shape: tuple[int, int]) -> PackedNetwork:
    """A policy's network: one output, the value or logit of each action [B, 1, 1, A].

    ValueError where the network, or a weight's type, is not supported.
    """
    if not isinstance(net, QNetwork):
        raise ValueError(f"[rollout] expected a policy QNetwork, got {type(net).__name__}")
    if not isinstance(net.encoder, NatureEncoder) or net.atoms != 1:
        raise ValueError(
            "[rollout] expected a policy with the nature encoder and one value an action, "
            f"got {type(net.encoder).__name__} and {net.atoms}"
        )
    first: Any = net.encoder.convs[0]
    builder = NetworkBuilder(first.in_channels, frame_shape, net.advantage.out_features)
    return PackedNetwork([builder], [_pack_q_network(net, builder)])


def pack_world(
    members: Iterable[nn.Module], frame_shape: tuple[int, int], *, context: int, num_actions: int
) -> PackedNetwork:
    """An ensemble's networks: the map of changes, then the logits of reward and end [B, 1, 1, 4].

    ValueError where a network is not supported, or the members differ in more than their weights.
    """
    builders, outputs = [], [0, 0]
    for net in members:
        pack = _WORLD_NETWORKS.get(type(net))
        if pack is None:
            names = ", ".join(kind.__name__ for kind in _WORLD_NETWORKS)
            raise ValueError(f"[rollout] expected a world model of {names}, got {type(net).__name__}")
        builder = NetworkBuilder(context, frame_shape, num_actions)
        outputs = list(pack(net, builder))
        builders.append(builder)
    return PackedNetwork(builders, outputs)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    if tensor.dtype != torch.float32:
        raise ValueError(f"[rollout] expected float32 weights, got {tensor.dtype}")
    return tensor.detach().cpu().contiguous().numpy()


def _weights(layer: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return _array(layer.weight), _array(layer.bias)


def _film(module: Any) -> Film:
    return Film(_array(module.scale), _array(module.shift))


def _pack_nature_convolutions(modules: Any, builder: NetworkBuilder) -> int:
    """The first one as a convolution of stride 1 over cells of its stride's size, if they tile the frame."""
    first, *others = (module for module in modules if isinstance(module, nn.Conv2d))
    weight, bias = _weights(first)
    stride = first.stride[0]
    if any(side % stride for side in builder.frame_shape) or first.kernel_size[0] % stride:
        x = builder.convolution(builder.frames(builder.context), weight, bias, stride=stride, relu=True)
    else:
        out, channels, kernel, _ = weight.shape
        taps = kernel // stride
        split = weight.reshape(out, channels, taps, stride, taps, stride).transpose(0, 1, 3, 5, 2, 4)
        cells = builder.frames(builder.context, cell=stride)
        x = builder.convolution(cells, split.reshape(out, -1, taps, taps), bias, relu=True)
    for conv in others:
        x = builder.convolution(x, *_weights(conv), stride=conv.stride[0], relu=True)
    return x


def _pack_q_network(net: QNetwork, builder: NetworkBuilder) -> int:
    """The hidden layers side by side as one, and the dueling sum folded into the last layer's weights."""
    x = _pack_nature_convolutions(net.encoder.convs, builder)
    hidden = [_weights(layer) for layer in net.hidden]
    x = builder.linear(x, *(np.concatenate(part) for part in zip(*hidden, strict=True)), relu=True)
    weight, bias = _weights(net.advantage)
    if net.value is None:
        return builder.linear(x, weight, bias)
    value_weight, value_bias = _weights(net.value)
    centred = weight - weight.mean(axis=0)
    both = np.concatenate([centred, np.broadcast_to(value_weight, weight.shape)], axis=1)
    return builder.linear(x, both, bias - bias.mean() + value_bias)


def _pack_grid_net(net: GridNet, builder: NetworkBuilder) -> tuple[int, int]:
    # `GridNet._movements`
    cells = builder.frames(builder.context, cell=net.GRID, scale=2.0 / 255.0, difference_scale=4.0 / 255.0)
    x = builder.convolution(cells, *_weights(net.stem))
    for block in net.blocks:
        hidden = builder.convolution(
            builder.relu(x), *_weights(block.first), padding=1, film=_film(block.film), relu=True
        )
        x = builder.convolution(hidden, *_weights(block.second), padding=1, add=x)
    head = builder.convolution(builder.relu(x), *_weights(net.head))
    outcome = net.outcome
    older = builder.shapes[cells][2] - outcome.first.in_channels
    y = builder.convolution(cells, *_weights(outcome.first), padding=1, first=older)
    norm = outcome.first_norm
    y = builder.norm(y, norm.num_groups, *_weights(norm), film=_film(outcome.film), relu=True)
    y = builder.convolution(y, *_weights(outcome.second), padding=1)
    y = builder.norm(y, outcome.second_norm.num_groups, *_weights(outcome.second_norm), relu=True)
    return head, builder.pool(builder.convolution(y, *_weights(outcome.out)), "logmeanexp")


def _pack_nature_net(net: NatureNet, builder: NetworkBuilder) -> tuple[int, int]:
    encoder: Any = net.encoder
    x = _pack_nature_convolutions(encoder, builder)
    x = builder.linear(x, *_weights(encoder[-2]), relu=True)
    # The action's column of the weight is a shift by the action.
    hidden: Any = net.hidden[0]
    weight, bias = _weights(hidden)
    by_action = np.ascontiguousarray(weight[:, -net.num_actions :].T)
    film = Film(np.zeros_like(by_action), by_action)
    features = np.ascontiguousarray(weight[:, : -net.num_actions])
    x = builder.linear(x, features, bias, film=film, relu=True)
    logits = builder.linear(x, *_weights(net.out))
    return _pack_decoder(net.decoder, builder, x), logits


def _pack_decoder(decoder: Any, builder: NetworkBuilder, x: int) -> int:
    grid = decoder[2].unflattened_size
    if grid[1] != grid[2]:
        raise ValueError(f"[rollout] expected a nature world model of square frames, got a grid {grid[1:]}")
    x = builder.depth_to_space(builder.linear(x, *_weights(decoder[0]), relu=True), grid[1])
    convs = [module for module in decoder if isinstance(module, nn.ConvTranspose2d)]
    for conv in convs[:-1]:
        x = builder.transposed_convolution(x, *_weights(conv), stride=conv.stride[0], relu=True)
    return builder.transposed_convolution(x, *_weights(convs[-1]), stride=convs[-1].stride[0], cells=True)


_WORLD_NETWORKS: dict[type[nn.Module], Callable[[Any, NetworkBuilder], tuple[int, int]]] = {
    GridNet: _pack_grid_net,
    NatureNet: _pack_nature_net,
}
