// A convolution as an implicit matrix product.
#pragma once

#include "rollout/gpu/row_context.h"

namespace mbpo_fast::gpu {

MBPO_GPU void convolve(const RowContext& row, const Op& op) {
  const int pixels = cells(op.out), groups = padded_channels(op.out.channels) / kChannelGroup;
  const int tile_pixels = op.tiles * kPixelTile, parts = (pixels + tile_pixels - 1) / tile_pixels;
  const int chunks = op.count / kDepth;
  const Half* corner = halves(row, op.in) + element(op.in, -op.padding, -op.padding) + op.first;
  const Window window{corner, op.kernel, op.in.line, op.in.step, chunks, op.planes, op.relu_input != 0};
  const std::int64_t group_words =
      std::int64_t{op.kernel} * op.kernel * chunks * op.planes * (kWeightStep / std::int64_t{sizeof(Words)});
  const auto* weights = reinterpret_cast<const Words*>(row.weights + op.weight);
  const Shift shift = shift_of(row.weights, op.bias, op.film, op.out.channels, row.action);
  const int stored = (stored_channels(op.out) + 1) / 2 * 2;
  for (int item = row.block.warp(); item < parts * groups; item += row.block.warps()) {
    const int group = item / parts, first = item % parts * tile_pixels;
    const int left = (pixels - first + kPixelTile - 1) / kPixelTile;
    const int wide = (stored - group * kChannelGroup + kChannelTile - 1) / kChannelTile;
    const TileCount tiles{left < op.tiles ? left : op.tiles, wide < kChannelTiles ? wide : kChannelTiles};
    TilePixels places;
    locate(places, first, pixels, [&](int pixel) {
      return (pixel / op.out.width) * op.stride * op.in.line +
             (pixel % op.out.width) * op.stride * op.in.step;
    });
    Products products;
    clear(products);
    accumulate(window, places, weights + group * group_words, tiles, products);
    each_pair(products, first, pixels, tiles, [&](int pixel, int channel, float low, float high) {
      const int c = group * kChannelGroup + channel, at = element_of_cell(op.out, pixel) + c;
      if (c >= stored) return;
      float pair[2] = {shift(low, c), shift(high, c + 1)};
      MBPO_UNROLL
      for (int i = 0; i < 2; ++i) {
        pair[i] = c + i < op.out.channels ? finished(row, op, pixel, c + i, pair[i]) : 0.0f;
      }
      if (op.out.is_float) {
        set_value(row, op.out, at, pair[0]);
        if (c + 1 < op.out.channels) set_value(row, op.out, at + 1, pair[1]);
      } else {
        *reinterpret_cast<std::uint32_t*>(halves(row, op.out) + at) = half_pair(pair[0], pair[1]);
      }
    });
  }
}

}  // namespace mbpo_fast::gpu
