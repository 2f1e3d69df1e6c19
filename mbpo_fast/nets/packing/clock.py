"""The default world model's network as a layer list."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbpo_fast.nets.clock import (
    CELL,
    CLOCK_LIMIT,
    COARSE_SCALE,
    DIFFERENCE_SCALE,
    FINE_LIMIT,
    FINE_SCALE,
    LOGIT_LIMIT,
    NEWEST_SCALE,
    SEEN_FRAMES,
    ClockNet,
)
from mbpo_fast.nets.packing.arrays import array_of, over_cells, shift_by_action, weights_of
from mbpo_fast.ops.network_builder import NetworkBuilder


def pack_clock_net(net: ClockNet, builder: NetworkBuilder) -> tuple[int, int]:
    """The registers of the map of changes and of the logits of reward and end."""
    past = builder.means(builder.context, cell=CELL, steps=True)
    clock = builder.clamp(builder.pool(past, "magnitude"), 0.0, CLOCK_LIMIT)
    seen = x = _pack_looks(net, builder, past)
    condition = _pack_condition(net.condition, builder, clock)
    for block in net.blocks:
        x = _pack_block(block, builder, x, condition)
    x = builder.relu(x)
    head = builder.convolution(x, *weights_of(net.head))
    # `ClockNet._known`
    predicted = builder.clamp(head, -LOGIT_LIMIT, LOGIT_LIMIT)
    known = builder.concat(builder.concat(builder.relu(seen), x), predicted)
    bands = builder.clamp(builder.pool(past, "magnitude", bands=net.bands), 0.0, CLOCK_LIMIT)
    ticks = builder.concat(builder.concat(clock, builder.clamp(clock, 0.0, FINE_LIMIT)), bands)
    scale = np.repeat(np.array([1.0, FINE_SCALE, *[1.0] * net.bands], np.float32), builder.context - 1)
    condition = _pack_condition(net.outcome_condition, builder, ticks, scale)
    newest = _pack_pixels(builder, SEEN_FRAMES)
    return head, _pack_outcome(net.outcome, builder, known, newest, condition)


def _pack_pixels(builder: NetworkBuilder, frames: int) -> int:
    """The newest `frames` pixel by pixel: their differences, then the newest."""
    return builder.frames(frames, cell=CELL, scale=NEWEST_SCALE, difference_scale=DIFFERENCE_SCALE)


def _pack_looks(net: ClockNet, builder: NetworkBuilder, past: int) -> int:
    """The newest frames pixel by pixel, plus all of them as means of cells, plus the place."""
    cells = _pack_pixels(builder, net.detail_frames)
    coarse = array_of(net.memory.weight) * np.float32(COARSE_SCALE)
    place = builder.constant(array_of(net.place)[0], cell=CELL)
    zeros = np.zeros(len(coarse), np.float32)
    remembered = builder.convolution(past, coarse, zeros, add=place, exact=True)
    weight, bias = weights_of(net.stem)
    return builder.convolution(cells, over_cells(weight, CELL), bias, add=remembered)


def _pack_condition(
    module: Any, builder: NetworkBuilder, clock: int, scale: NDArray[np.float32] | float = 1.0
) -> int:
    """`scale` is that of each tick."""
    weight, bias = weights_of(module.hidden)
    # The action's columns of the weight are a shift by the action.
    by_action = shift_by_action(weight[:, : module.num_actions].T)
    by_tick = np.ascontiguousarray(weight[:, module.num_actions :] * np.float32(scale))
    return builder.linear(clock, by_tick, bias, film=by_action, relu=True)


def _pack_film(module: Any, builder: NetworkBuilder, condition: int) -> int:
    by_action = shift_by_action(array_of(module.by_action))
    return builder.linear(condition, *weights_of(module.by_condition), film=by_action)


def _pack_block(block: Any, builder: NetworkBuilder, x: int, condition: int) -> int:
    film = _pack_film(block.film, builder, condition)
    hidden = builder.convolution(
        builder.relu(x), *weights_of(block.first), padding=1, condition=film, relu=True
    )
    return builder.convolution(hidden, *weights_of(block.second), padding=1, add=x)


def _pack_outcome(net: Any, builder: NetworkBuilder, known: int, newest: int, condition: int) -> int:
    channels = builder.shape(known)[2]
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    x = builder.concat(builder.norm(known, net.known_norm.num_groups, ones, zeros), newest)
    x = builder.convolution(x, *weights_of(net.first), padding=1)
    film = _pack_film(net.film, builder, condition)
    x = builder.norm(x, net.norm.num_groups, *weights_of(net.norm), condition=film, relu=True)
    for conv, norm in zip(net.convs, net.norms, strict=True):
        x = builder.convolution(x, *weights_of(conv), padding=1)
        x = builder.norm(x, norm.num_groups, *weights_of(norm), relu=True)
    return builder.pool(builder.convolution(x, *weights_of(net.out)), "logmeanexp")
