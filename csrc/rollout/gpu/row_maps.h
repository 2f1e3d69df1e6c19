// Layers from map to map, element by element or window by window.
#pragma once

#include "rollout/gpu/row_context.h"
#include "rollout/network.h"

namespace mbpo_fast::gpu {

MBPO_GPU void lay_constant(const RowContext& row, const Op& op) {
  const float* values = row.floats(op.weight);
  fill(row, op.out, [&](int cell, int c) { return values[cell * op.out.channels + c]; });
}

// Means and variances of groups, a warp each, then every element.
MBPO_GPU void normalise(const RowContext& row, const Op& op) {
  const int wide = op.in.channels / op.option, total = cells(op.in) * wide;
  float* statistics = row.statistics();
  for (int group = row.block.warp(); group < op.option; group += row.block.warps()) {
    const auto each = [&](auto f) {
      return warp_sum([&](int lane) {
        float part = 0.0f;
        for (int i = lane; i < total; i += kLanes) {
          part += f(value_at(row, op.in, element_of_cell(op.in, i / wide) + group * wide + i % wide));
        }
        return part;
      });
    };
    const float count = static_cast<float>(total);
    const float mean = each([](float value) { return value; }) / count;
    const float variance = each([&](float value) { return (value - mean) * (value - mean); }) / count;
    each_lane([&](int lane, int) {
      if (lane != 0) return;
      statistics[2 * group] = mean;
      statistics[2 * group + 1] = 1.0f / std::sqrt(variance + kNormEpsilon);
    });
  }
  row.block.sync();
  const float *gain = row.floats(op.weight), *bias = row.floats(op.bias);
  // The film's own bias is that of the norm.
  const Shift film = shift_of(row.weights, op.bias, op.film, op.in.channels, row.action);
  fill(row, op.out, [&](int cell, int c) {
    const float* own = statistics + 2 * (c / wide);
    float value =
        (value_at(row, op.in, element_of_cell(op.in, cell) + c) - own[0]) * own[1] * gain[c] + bias[c];
    if (film.scale) value = value * film.scale[c] + film.shift[c];
    return finished(row, op, cell, c, value);
  });
}

MBPO_GPU void activate(const RowContext& row, const Op& op) {
  fill(row, op.out,
       [&](int cell, int c) { return finished(row, op, cell, c, value_of_cell(row, op.in, cell, c)); });
}

MBPO_GPU void join(const RowContext& row, const Op& op) {
  const int own = op.in.channels;
  fill(row, op.out, [&](int cell, int c) {
    return c < own ? value_of_cell(row, op.in, cell, c) : value_of_cell(row, op.other, cell, c - own);
  });
}

MBPO_GPU void clamp(const RowContext& row, const Op& op) {
  fill(row, op.out, [&](int cell, int c) {
    const float value = value_of_cell(row, op.in, cell, c);
    return value < op.numbers[0] ? op.numbers[0] : value > op.numbers[1] ? op.numbers[1] : value;
  });
}

MBPO_GPU void take_maxima(const RowContext& row, const Op& op) {
  fill(row, op.out, [&](int cell, int c) {
    const int top = cell / op.out.width * op.stride - op.padding;
    const int left = cell % op.out.width * op.stride - op.padding;
    float most = -INFINITY;
    for (int y = top < 0 ? 0 : top; y < top + op.kernel && y < op.in.height; ++y) {
      for (int x = left < 0 ? 0 : left; x < left + op.kernel && x < op.in.width; ++x) {
        const float value = value_at(row, op.in, element(op.in, y, x) + c);
        most = value > most ? value : most;
      }
    }
    return most;
  });
}

MBPO_GPU void spread_cells(const RowContext& row, const Op& op) {
  const int side = op.kernel;
  fill(row, op.out, [&](int cell, int c) {
    const int y = cell / op.out.width, x = cell % op.out.width;
    const int channel = c * side * side + y % side * side + x % side;
    return value_at(row, op.in, element(op.in, y / side, x / side) + channel);
  });
}

}  // namespace mbpo_fast::gpu
