// Layers from a map to a vector: a warp works out each channel.
#pragma once

#include "rollout/gpu/row_context.h"

namespace mbpo_fast::gpu {

// Number `out` of a pool, a channel's over one of its `kernel` bands, by a warp. option 0: mean, 1: maximum,
// 2: log of the mean of exp, 3: mean magnitude.
MBPO_GPU float pool_channel(const RowContext& row, const Op& op, int out) {
  const int total = cells(op.in) / op.kernel, c = out % op.in.channels;
  const int begin = out / op.in.channels * total;
  const float share = 1.0f / static_cast<float>(total);
  const auto over = [&](int lane, float start, auto f) {
    for (int cell = begin + lane; cell < begin + total; cell += kLanes) {
      start = f(start, value_of_cell(row, op.in, cell, c));
    }
    return start;
  };
  const auto sum = [&](auto f) { return warp_sum([&](int lane) { return over(lane, 0.0f, f); }); };
  if (op.option == 0) return share * sum([](float a, float b) { return a + b; });
  if (op.option == 3) return share * sum([](float a, float b) { return a + std::fabs(b); });
  const auto larger = [](float a, float b) { return a > b ? a : b; };
  const float first = value_of_cell(row, op.in, begin, c);
  const float most = warp_max([&](int lane) { return over(lane, first, larger); });
  if (op.option == 1) return most;
  return most + std::log(share * sum([&](float a, float b) { return a + std::exp(b - most); }));
}

// The mean of a softmax over the atoms of action c, by a warp.
MBPO_GPU float expected_value(const RowContext& row, const Op& op, int c) {
  const float* atoms = row.floats(op.weight);
  const auto logit = [&](int i) { return value_of_cell(row, op.in, 0, c * op.option + i); };
  const auto sum = [&](auto f) {
    return warp_sum([&](int lane) {
      float part = 0.0f;
      for (int i = lane; i < op.option; i += kLanes) part += f(i);
      return part;
    });
  };
  const float most = warp_max([&](int lane) {
    float own = logit(0);
    for (int i = lane; i < op.option; i += kLanes) own = logit(i) > own ? logit(i) : own;
    return own;
  });
  const auto mass = [&](int i) { return std::exp(logit(i) - most); };
  return sum([&](int i) { return mass(i) * atoms[i]; }) / sum(mass);
}

MBPO_GPU void pool(const RowContext& row, const Op& op) {
  fill_vector(row, op.out, [&](int out) { return pool_channel(row, op, out); });
}

MBPO_GPU void expect(const RowContext& row, const Op& op) {
  fill_vector(row, op.out, [&](int c) { return expected_value(row, op, c); });
}

// A small linear layer; weight float32 [channels, h * w * c].
MBPO_GPU void multiply_vector(const RowContext& row, const Op& op) {
  const int depth = cells(op.in) * op.in.channels;
  const Shift shift = shift_of(row.weights, op.bias, op.film, op.out.channels, row.action);
  fill_vector(row, op.out, [&](int out) {
    const float* weights = row.floats(op.weight) + std::int64_t{out} * depth;
    const float sum = warp_sum([&](int lane) {
      float part = 0.0f;
      for (int i = lane; i < depth; i += kLanes) {
        part += weights[i] * value_of_cell(row, op.in, i / op.in.channels, i % op.in.channels);
      }
      return part;
    });
    return rectified(shift(sum, out), op.relu);
  });
}

}  // namespace mbpo_fast::gpu
