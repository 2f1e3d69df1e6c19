"""The default world model's network as a layer list."""

from typing import Any

import numpy as np

from mbpo_fast.nets.clock import CELL, CLOCK_LIMIT, COARSE_SCALE, ClockNet
from mbpo_fast.nets.packing.arrays import array_of, over_cells, shift_by_action, weights_of
from mbpo_fast.ops.network_builder import NONE, NetworkBuilder


def pack_clock_net(net: ClockNet, builder: NetworkBuilder) -> tuple[int, int]:
    """The registers of the map of changes and of the logits of reward and end."""
    detail = max(net.detail_frames, net.outcome_frames)
    # `_MovementConv.movements`
    cells = builder.frames(detail, cell=CELL, scale=2.0 / 255.0, difference_scale=4.0 / 255.0)
    past = builder.means(builder.context, cell=CELL, steps=True)
    clock = builder.clamp(builder.pool(past, "magnitude"), 0.0, CLOCK_LIMIT)
    place = builder.constant(array_of(net.place)[0], cell=CELL)
    x = _pack_looks(net.stem, net.memory, builder, cells, past, place)
    condition = _pack_condition(net.condition, builder, clock)
    for block in net.blocks:
        x = _pack_block(block, builder, x, condition)
    head = builder.convolution(builder.relu(x), *weights_of(net.head))
    y = _pack_looks(net.outcome_stem, net.outcome_memory, builder, cells, past, NONE)
    return head, _pack_outcome(
        net.outcome, builder, y, _pack_condition(net.outcome_condition, builder, clock)
    )


def _pack_looks(stem: Any, memory: Any, builder: NetworkBuilder, cells: int, past: int, add: int) -> int:
    """The newest frames pixel by pixel, plus all of them as means of cells, plus `add`."""
    # The means' steps are in gray levels.
    coarse = array_of(memory.weight) * np.float32(COARSE_SCALE / 255.0)
    zeros = np.zeros(len(coarse), np.float32)
    remembered = builder.convolution(past, coarse, zeros, padding=memory.padding[0], add=add)
    weight = over_cells(array_of(stem.weight), CELL)
    older = builder.shape(cells)[2] - weight.shape[1]
    return builder.convolution(
        cells, weight, array_of(stem.bias), padding=stem.padding[0] // CELL, add=remembered, first=older
    )


def _pack_condition(module: Any, builder: NetworkBuilder, clock: int) -> int:
    weight, bias = weights_of(module.hidden)
    # The action's columns of the weight are a shift by the action.
    by_action = shift_by_action(weight[:, : module.num_actions].T)
    return builder.linear(
        clock, np.ascontiguousarray(weight[:, module.num_actions :]), bias, film=by_action, relu=True
    )


def _pack_film(module: Any, builder: NetworkBuilder, condition: int) -> int:
    by_action = shift_by_action(array_of(module.by_action))
    return builder.linear(condition, *weights_of(module.by_condition), film=by_action)


def _pack_block(block: Any, builder: NetworkBuilder, x: int, condition: int) -> int:
    film = _pack_film(block.film, builder, condition)
    hidden = builder.convolution(
        builder.relu(x), *weights_of(block.first), padding=1, condition=film, relu=True
    )
    return builder.convolution(hidden, *weights_of(block.second), padding=1, add=x)


def _pack_outcome(net: Any, builder: NetworkBuilder, x: int, condition: int) -> int:
    film = _pack_film(net.film, builder, condition)
    x = builder.norm(x, net.norm.num_groups, *weights_of(net.norm), condition=film, relu=True)
    for conv, norm in zip(net.convs, net.norms, strict=True):
        x = builder.convolution(x, *weights_of(conv), padding=1)
        x = builder.norm(x, norm.num_groups, *weights_of(norm), relu=True)
    return builder.pool(builder.convolution(x, *weights_of(net.out)), "logmeanexp")
