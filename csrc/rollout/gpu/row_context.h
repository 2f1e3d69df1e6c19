// A block at work on one row, and its maps in shared memory.
#pragma once

#include "rollout/gpu/product.h"
#include "rollout/gpu/rows.h"

namespace mbpo_fast::gpu {

// A block at work on one row.
struct RowContext {
  const Block& block;
  unsigned char* shared;
  const unsigned char* weights;  // of the row's member
  const FrameSource& frames;
  std::int64_t branch;
  int action;
  Half* kept;
  float* outputs;

  MBPO_GPU float* statistics() const { return reinterpret_cast<float*>(shared); }
  MBPO_GPU const float* floats(std::int64_t offset) const {
    return reinterpret_cast<const float*>(weights + offset);
  }
};

MBPO_GPU int cells(const Map& map) {
  return map.height * map.width;
}

// Channels that a writer fills, what is beyond `channels` with zeros.
MBPO_GPU int stored_channels(const Map& map) {
  return map.is_float ? map.channels : (map.channels + kDepth - 1) / kDepth * kDepth;
}

MBPO_GPU int element(const Map& map, int y, int x) {
  return (y + map.border) * map.line + (x + map.border) * map.step;
}

MBPO_GPU int element_of_cell(const Map& map, int cell) {
  return element(map, cell / map.width, cell % map.width);
}

MBPO_GPU Half* halves(const RowContext& row, const Map& map) {
  return reinterpret_cast<Half*>(row.shared + map.offset);
}

MBPO_GPU float value_at(const RowContext& row, const Map& map, int index) {
  return map.is_float ? reinterpret_cast<const float*>(row.shared + map.offset)[index]
                      : float_from(halves(row, map)[index]);
}

MBPO_GPU void set_value(const RowContext& row, const Map& map, int index, float value) {
  if (map.is_float) {
    reinterpret_cast<float*>(row.shared + map.offset)[index] = value;
  } else {
    halves(row, map)[index] = half_from(value);
  }
}

MBPO_GPU float rectified(float value, bool relu) {
  return relu && value < 0.0f ? 0.0f : value;
}

// f(cell, channel) into every stored element of `map`.
template <class F>
MBPO_GPU void fill(const RowContext& row, const Map& map, F f) {
  const int channels = stored_channels(map), total = cells(map) * channels;
  for (int i = row.block.thread(); i < total; i += row.block.threads()) {
    const int cell = i / channels, channel = i % channels;
    set_value(row, map, element_of_cell(map, cell) + channel,
              channel < map.channels ? f(cell, channel) : 0.0f);
  }
}

MBPO_GPU void clear_border(const RowContext& row, const Map& map) {
  if (map.border == 0) return;
  const int columns = map.width + 2 * map.border, total = (map.height + 2 * map.border) * columns;
  for (int i = row.block.thread(); i < total; i += row.block.threads()) {
    const int y = i / columns - map.border, x = i % columns - map.border;
    if (y >= 0 && y < map.height && x >= 0 && x < map.width) continue;
    const int channels = stored_channels(map), at = element(map, y, x);
    for (int c = 0; c < channels; ++c) set_value(row, map, at + c, 0.0f);
  }
}

MBPO_GPU float value_of_cell(const RowContext& row, const Map& map, int cell, int c) {
  return value_at(row, map, element_of_cell(map, cell) + c);
}

// f(channel), worked out by a warp, into every channel of a vector.
template <class F>
MBPO_GPU void fill_vector(const RowContext& row, const Map& map, F f) {
  for (int c = row.block.warp(); c < stored_channels(map); c += row.block.warps()) {
    const float value = c < map.channels ? f(c) : 0.0f;
    each_lane([&](int lane, int) {
      if (lane == 0) set_value(row, map, element(map, 0, 0) + c, value);
    });
  }
}

template <class Put>
MBPO_GPU void each_value(const RowContext& row, const Map& map, Put put) {
  const int total = cells(map) * map.channels;
  for (int i = row.block.thread(); i < total; i += row.block.threads()) {
    put(i, value_at(row, map, element_of_cell(map, i / map.channels) + i % map.channels));
  }
}

// What comes after a layer's own sum: a condition's scale and shift, a map or a constant to add, the
// activation.
MBPO_GPU float finished(const RowContext& row, const Op& op, int cell, int c, float value) {
  if (op.condition.channels) {
    const int first = element(op.condition, 0, 0), channels = op.condition.channels / 2;
    value = value * (1.0f + value_at(row, op.condition, first + c)) +
            value_at(row, op.condition, first + channels + c);
  }
  if (op.other.channels) value += value_at(row, op.other, element_of_cell(op.other, cell) + c);
  if (op.constant >= 0) value += row.floats(op.constant)[cell * op.out.channels + c];
  return rectified(value, op.relu);
}

}  // namespace mbpo_fast::gpu
