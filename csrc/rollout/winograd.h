// 3x3 convolutions of stride 1 by Winograd's F(3x3, 3x3) with the points 0, 1, -1, 2 and infinity: a patch of
// 5x5 inputs gives 3x3 outputs by 25 products (Lavin and Gray 2016, "Fast algorithms for convolutional neural
// networks"). 21 = 7 * 3, so the world model's grid is cut without a remainder.
#pragma once

#include "rollout/sums.h"

namespace mbpo_fast {
namespace {

// B^T x: five inputs to the five points.
inline void to_points(const Vector (&x)[5], Vector (&y)[5]) {
  const Vector two = splat(2.0f), three = splat(3.0f);
  y[0] = two * (x[0] - x[2]) + (x[3] - x[1]);
  y[1] = x[3] - x[2] - two * x[1];
  y[2] = two * x[1] - three * x[2] + x[3];
  y[3] = x[3] - x[1];
  y[4] = two * (x[1] - x[3]) + (x[4] - x[2]);
}

// A^T m: five points to the three outputs.
inline void from_points(const Vector (&m)[5], Vector (&y)[3]) {
  const Vector sum = m[1] + m[2], difference = m[1] - m[2], twice = m[3] + m[3];
  y[0] = m[0] + sum + m[3];
  y[1] = difference + twice;
  y[2] = sum + (twice + twice) + m[4];
}

// The patch whose first pixel is `in`, for all input channels: points[25][kWinogradGroup][in_channels],
// with the gaps of winograd_plane().
template <class Number>
inline void transform_patch(const WinogradSum<Number>& call, const float* in, Number* points) {
  const std::int64_t plane = winograd_plane(call.in_channels);
  for (std::int64_t c = 0; c < call.in_channels; c += kLanes) {
    Vector rows[5][5];
    for (int y = 0; y < 5; ++y) {
      Vector line[5];
      for (int x = 0; x < 5; ++x) line[x] = load(in + y * call.in_line + x * call.in_step + c);
      to_points(line, rows[y]);
    }
    for (int x = 0; x < 5; ++x) {
      const Vector column[5] = {rows[0][x], rows[1][x], rows[2][x], rows[3][x], rows[4][x]};
      Vector out[5];
      to_points(column, out);
      for (int y = 0; y < 5; ++y) Products<Number>::store(points + (5 * y + x) * plane + c, out[y]);
    }
  }
}

template <int kPixels, int kUnits, class Number>
void product_tile(const WinogradSum<Number>& call, const Number* points, const Number* weight, float* out) {
  constexpr int kV = kVectors<kUnits>;
  Vector sums[kPixels][kV] = {};
  accumulate<kPixels, kV>(points, call.in_channels, call.in_channels, weight, sums);
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 16
    for (int v = 0; v < kV; ++v) store(out + (p * kV + v) * kLanes, sums[p][v]);
  }
}

template <int kUnits, int kPixels = kTilePixels, class Number>
inline void product_tile_of(std::int64_t pixels, const WinogradSum<Number>& call, const Number* points,
                            const Number* weight, float* out) {
  if constexpr (kPixels > 1) {
    if (pixels < kPixels) return product_tile_of<kUnits, kPixels - 1>(pixels, call, points, weight, out);
  }
  product_tile<kPixels, kUnits>(call, points, weight, out);
}

// The products of a group's `count` tiles at one point, in nearly equal parts.
template <int kUnits, class Number>
inline void products(const WinogradSum<Number>& call, std::int64_t count, const Number* points,
                     const Number* weight, float* out) {
  const std::int64_t parts = (count + kTilePixels - 1) / kTilePixels;
  for (std::int64_t part = 0; part < parts; ++part) {
    const std::int64_t first = count * part / parts, end = count * (part + 1) / parts;
    product_tile_of<kUnits>(end - first, call, points + first * call.in_channels, weight,
                            out + first * kUnits * kChannelUnit);
  }
}

struct Tile {
  std::int64_t y, x;
};

template <class Number>
inline Tile tile_at(const WinogradSum<Number>& call, std::int64_t index) {
  const std::int64_t columns = (call.width + kWinogradTile - 1) / kWinogradTile;
  return {index / columns * kWinogradTile, index % columns * kWinogradTile};
}

// One tile's products back to 3x3 outputs; products [25][kWinogradGroup][kUnits * kChannelUnit].
template <int kUnits, class Number>
inline void write_tile(const WinogradSum<Number>& call, Tile tile, std::int64_t channel,
                       const float* products) {
  constexpr std::int64_t plane = winograd_plane(kUnits * kChannelUnit);
  const Epilogue& epilogue = call.epilogue;
  const std::int64_t height = at_most(call.height - tile.y, kWinogradTile);
  const std::int64_t width = at_most(call.width - tile.x, kWinogradTile);
  for (int v = 0; v < kVectors<kUnits>; ++v) {
    Vector rows[5][3], out[3][3];
    for (int y = 0; y < 5; ++y) {
      Vector line[5];
      for (int x = 0; x < 5; ++x) line[x] = load(products + (5 * y + x) * plane + v * kLanes);
      from_points(line, rows[y]);
    }
    for (int x = 0; x < 3; ++x) {
      const Vector column[5] = {rows[0][x], rows[1][x], rows[2][x], rows[3][x], rows[4][x]};
      Vector values[3];
      from_points(column, values);
      for (int y = 0; y < 3; ++y) out[y][x] = values[y];
    }
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width; ++x) {
        const float* residual = epilogue.residual;
        if (residual) {
          residual += (tile.y + y) * epilogue.residual_line + (tile.x + x) * epilogue.residual_step;
        }
        float* to = call.out + (tile.y + y) * call.out_line + (tile.x + x) * call.out_step;
        finish(epilogue, out[y][x], 0, channel + v * kLanes, residual, to);
      }
    }
  }
}

// Scratch memory: all points' sums for a block of output channels, then their patches of all inputs.
template <class Number>
void winograd_sum(const WinogradSum<Number>& call) {
  const std::int64_t tiles = ((call.height + kWinogradTile - 1) / kWinogradTile) *
                             ((call.width + kWinogradTile - 1) / kWinogradTile);
  float* const sums = call.scratch;
  auto* const points = reinterpret_cast<Number*>(sums + kWinogradPoints * winograd_plane(2 * kChannelUnit));
  const std::int64_t groups = (tiles + kWinogradGroup - 1) / kWinogradGroup;
  for (std::int64_t group = 0; group < groups; ++group) {
    const std::int64_t first = tiles * group / groups, count = tiles * (group + 1) / groups - first;
    for (std::int64_t t = 0; t < count; ++t) {
      const Tile tile = tile_at(call, first + t);
      transform_patch(call, call.in + tile.y * call.in_line + tile.x * call.in_step,
                      points + t * call.in_channels);
    }
    const auto block = [&]<int kUnits>(std::int64_t channel, const Number* weight) {
      for (std::int64_t f = 0; f < kWinogradPoints; ++f) {
        products<kUnits>(call, count, points + f * winograd_plane(call.in_channels),
                         weight + f * call.in_channels * kUnits * kChannelUnit,
                         sums + f * winograd_plane(kUnits * kChannelUnit));
      }
      for (std::int64_t t = 0; t < count; ++t) {
        write_tile<kUnits>(call, tile_at(call, first + t), channel, sums + t * kUnits * kChannelUnit);
      }
    };
    for_each_block(call.channels, call.weight, kWinogradPoints * call.in_channels, block);
  }
}

}  // namespace
}  // namespace mbpo_fast
