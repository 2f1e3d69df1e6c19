"""Agents' networks as layer lists: one output, the value or the logit of each action."""

from typing import Any

import numpy as np
from torch import nn

from mbpo_fast.nets.actor_critic import ActorCritic
from mbpo_fast.nets.impala import ImpalaEncoder, ResidualBlock
from mbpo_fast.nets.nature import NatureEncoder
from mbpo_fast.nets.packing.arrays import Floats, array_of, over_cells, weights_of
from mbpo_fast.nets.policy import PolicyNetwork
from mbpo_fast.nets.q_network import QNetwork
from mbpo_fast.ops.network import PackedNetwork
from mbpo_fast.ops.network_builder import NetworkBuilder


def pack_policy(net: nn.Module, frame_shape: tuple[int, int]) -> PackedNetwork:
    """A policy's network: one output [B, 1, 1, A], values of the actions or, if it samples, their logits.

    In bfloat16, but for the head, where the network itself is.
    ValueError where the network, or a weight's type, is not supported.
    """
    if not isinstance(net, QNetwork | PolicyNetwork | ActorCritic):
        raise ValueError(
            f"[rollout] expected a policy QNetwork, PolicyNetwork or ActorCritic, got {type(net).__name__}"
        )
    first = next(module for module in net.encoder.modules() if isinstance(module, nn.Conv2d))
    head = {QNetwork: "advantage", PolicyNetwork: "logits", ActorCritic: "policy"}[type(net)]
    actions = getattr(net, head).out_features // (net.atoms if isinstance(net, QNetwork) else 1)
    builder = NetworkBuilder(first.in_channels, frame_shape, actions, bf16=net.bf16)
    x = _pack_encoder(net.encoder, builder)
    if isinstance(net, QNetwork):
        return PackedNetwork([builder], [_pack_values(net, builder, x)])
    hidden = builder.linear(x, *weights_of(net.hidden), relu=True)
    return PackedNetwork([builder], [builder.linear(hidden, *weights_of(getattr(net, head)), exact=True)])


def samples_actions(net: nn.Module) -> bool:
    """Whether actions are drawn from the softmax of the outputs; else the largest one is taken."""
    return isinstance(net, PolicyNetwork | ActorCritic)


def pack_nature_convolutions(modules: Any, builder: NetworkBuilder) -> int:
    """The first one as a convolution of stride 1 over cells of its stride's size, if they tile the frame."""
    first, *others = (module for module in modules if isinstance(module, nn.Conv2d))
    weight, bias = weights_of(first)
    stride = first.stride[0]
    if any(side % stride for side in builder.frame_shape) or first.kernel_size[0] % stride:
        x = builder.convolution(builder.frames(builder.context), weight, bias, stride=stride, relu=True)
    else:
        cells = builder.frames(builder.context, cell=stride)
        x = builder.convolution(cells, over_cells(weight, stride), bias, relu=True)
    for conv in others:
        x = builder.convolution(x, *weights_of(conv), stride=conv.stride[0], relu=True)
    return x


def _pack_encoder(encoder: NatureEncoder | ImpalaEncoder, builder: NetworkBuilder) -> int:
    if isinstance(encoder, NatureEncoder):
        return pack_nature_convolutions(encoder.convs, builder)
    x = builder.frames(builder.context)
    for module in encoder.convs:
        layer: Any = module
        if isinstance(module, nn.Conv2d):
            x = builder.convolution(x, *weights_of(layer), padding=layer.padding[0])
        elif isinstance(module, nn.MaxPool2d):
            x = builder.max_pool(x, layer.kernel_size, stride=layer.stride, padding=layer.padding)
        elif isinstance(module, ResidualBlock):
            hidden = builder.convolution(builder.relu(x), *weights_of(module.first), padding=1, relu=True)
            x = builder.convolution(hidden, *weights_of(module.second), padding=1, add=x)
    return builder.relu(x)


def _pack_values(net: QNetwork, builder: NetworkBuilder, x: int) -> int:
    """The hidden layers side by side as one; then the head, and the mean return of a histogram."""
    hidden = [weights_of(layer) for layer in net.hidden]
    x = builder.linear(x, *(np.concatenate(part) for part in zip(*hidden, strict=True)), relu=True)
    weight, bias = _head(net)
    if net.atoms > 1 and net.support is None:
        # The mean of the quantiles is a linear layer too.
        return builder.linear(x, weight.mean(axis=1), bias.mean(axis=1), exact=True)
    outputs = builder.linear(x, weight.reshape(-1, weight.shape[2]), bias.ravel(), exact=True)
    return outputs if net.support is None else builder.expectation(outputs, array_of(net.support))


def _head(net: QNetwork) -> tuple[Floats, Floats]:
    """Weight [A, Z, hidden] and bias [A, Z] of one linear layer, the dueling sum folded in."""
    weight, bias = weights_of(net.advantage)
    weight, bias = weight.reshape(-1, net.atoms, weight.shape[1]), bias.reshape(-1, net.atoms)
    if net.value is None:
        return weight, bias
    value_weight, value_bias = weights_of(net.value)
    centred = weight - weight.mean(axis=0)
    both = np.concatenate([centred, np.broadcast_to(value_weight, weight.shape)], axis=2)
    return both, bias - bias.mean(axis=0) + value_bias
