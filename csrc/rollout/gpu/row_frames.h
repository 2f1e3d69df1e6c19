// Layers that read frames, and the one that makes the next frame.
#pragma once

#include "rollout/gpu/row_context.h"

namespace mbpo_fast::gpu {

// A pixel of a frame, or its step to the next frame, as the layer scales it.
struct FrameValues {
  const std::uint8_t *own, *next;  // next: null where there is no step to take
  float scale;

  MBPO_GPU float operator()(int pixel) const {
    const float value = static_cast<float>(own[pixel]);
    return scale * (next ? static_cast<float>(next[pixel]) - value : value);
  }
};

MBPO_GPU FrameValues frame_values(const RowContext& row, const Op& op, int frame) {
  const bool moves = op.option == 1 && frame + 1 < op.count;
  return {row.frames.newest(row.branch, op.count, frame),
          moves ? row.frames.newest(row.branch, op.count, frame + 1) : nullptr, op.numbers[moves]};
}

// Whole numbers up to 255 are exact in bfloat16: where the weights took the scales in, pixels lose nothing.
// A thread takes `kRun` neighbouring pixels of a cell.
template <int kRun>
MBPO_GPU void lay_pixels(const RowContext& row, const Op& op) {
  const int side = op.kernel, area = side * side, width = op.out.width * side, runs = width / kRun;
  const int height = op.out.height * side, total = op.out.channels / area * height * runs;
  for (int i = row.block.thread(); i < total; i += row.block.threads()) {
    const int line = i / runs, x = i % runs * kRun, y = line % height, frame = line / height;
    const FrameValues values = frame_values(row, op, op.first + frame);
    const int at = element(op.out, y / side, x / side) + frame * area + y % side * side + x % side;
    MBPO_UNROLL
    for (int j = 0; j < kRun; ++j) set_value(row, op.out, at + j, values(y * width + x + j));
  }
}

MBPO_GPU void lay_frames(const RowContext& row, const Op& op) {
  op.kernel % 4 == 0 ? lay_pixels<4>(row, op) : lay_pixels<1>(row, op);
  const int padding = stored_channels(op.out) - op.out.channels;
  for (int i = row.block.thread(); i < cells(op.out) * padding; i += row.block.threads()) {
    set_value(row, op.out, element_of_cell(op.out, i / padding) + op.out.channels + i % padding, 0.0f);
  }
}

MBPO_GPU int sum_of_bytes(std::uint32_t word) {
  const std::uint32_t pairs = (word & 0x00FF00FFu) + ((word >> 8) & 0x00FF00FFu);
  return static_cast<int>((pairs + (pairs >> 16)) & 0xFFFFu);
}

MBPO_GPU int sum_of_cell(const std::uint8_t* corner, int width, int side) {
  int sum = 0;
  for (int y = 0; y < side; ++y, corner += width) {
    if (side % 4 == 0) {
      for (int x = 0; x < side; x += 4) sum += sum_of_bytes(load_as<std::uint32_t>(corner + x));
    } else {
      for (int x = 0; x < side; ++x) sum += corner[x];
    }
  }
  return sum;
}

// Means of cells, or with option 1 their steps from frame to frame.
MBPO_GPU void average_cells(const RowContext& row, const Op& op) {
  const int side = op.kernel, width = op.out.width * side, frames = op.out.channels + op.option;
  const float share = 1.0f / static_cast<float>(side * side);
  fill(row, op.out, [&](int cell, int c) {
    const int corner = cell / op.out.width * side * width + cell % op.out.width * side;
    int sum = sum_of_cell(row.frames.newest(row.branch, frames, c + op.option) + corner, width, side);
    if (op.option) sum -= sum_of_cell(row.frames.newest(row.branch, frames, c) + corner, width, side);
    return share * static_cast<float>(sum);
  });
}

// The change of each pixel in units of 255 gray levels; where the cells have two numbers a pixel, the first
// says by its sign whether the pixel changes at all.
MBPO_GPU void apply_change(const RowContext& row, const Op& op) {
  const FrameSource& frames = row.frames;
  const int cell = op.kernel, area = cell * cell, width = op.in.width * cell;
  const bool masked = op.in.channels == 2 * area;
  const std::uint8_t* newest = frames.newest(row.branch, 1, 0);
  std::uint8_t* to = frames.destination(row.branch);
  for (int i = row.block.thread(); i < op.in.height * cell * width; i += row.block.threads()) {
    const int y = i / width, x = i % width;
    const int at = element(op.in, y / cell, x / cell) + y % cell * cell + x % cell;
    const bool changes = !masked || value_at(row, op.in, at) > 0.0f;
    float level = static_cast<float>(newest[i]);
    if (changes) level = rintf(level + 255.0f * value_at(row, op.in, masked ? at + area : at));
    to[i] = static_cast<std::uint8_t>(level < 0.0f ? 0.0f : level > 255.0f ? 255.0f : level);
  }
}

}  // namespace mbpo_fast::gpu
