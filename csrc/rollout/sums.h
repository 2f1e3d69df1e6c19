// Convolutions and linear layers: tiles of pixels times output channels that live in registers.
#pragma once

#include "rollout/kernels.h"
#include "rollout/vectors.h"

namespace mbpo_fast {
namespace {

template <int kUnits>
inline constexpr int kVectors = static_cast<int>(kUnits * kChannelUnit / kLanes);

// sums[p][v] += over `run` k: in[p * step + k] * weight[k][v]
template <int kPixels, int kV, class Number>
inline __attribute__((always_inline)) void accumulate(const Number* in, std::int64_t step, std::int64_t run,
                                                      const Number* weight, Vector (&sums)[kPixels][kV]) {
  using Product = Products<Number>;
  constexpr std::int64_t kDepth = Product::kDepth;
  for (std::int64_t k = 0; k < run; k += kDepth, weight += kV * kLanes * kDepth) {
    typename Product::Terms w[kV];
#pragma GCC unroll 16
    for (int v = 0; v < kV; ++v) w[v] = Product::load_weights(weight + v * kLanes * kDepth);
#pragma GCC unroll 16
    for (int p = 0; p < kPixels; ++p) {
      const typename Product::Terms x = Product::splat_inputs(in + p * step + k);
#pragma GCC unroll 16
      for (int v = 0; v < kV; ++v) sums[p][v] = Product::add(sums[p][v], x, w[v]);
    }
  }
}

// One vector of sums on its way to memory. `offset` is the channel's, `affine` the pixel's.
inline void finish(const Epilogue& epilogue, Vector sum, std::int64_t affine, std::int64_t offset,
                   const float* residual, float* out) {
  const std::int64_t at = affine + offset;
  Vector value = sum * load(epilogue.scale + at) + load(epilogue.shift + at);
  if (residual) value += load(residual + offset);
  if (epilogue.relu) value = at_least(value, Vector{});
  store(out + offset, value);
}

template <int kPixels, int kUnits, class Number>
void window_tile(const WindowSum<Number>& call, std::int64_t y, std::int64_t x, std::int64_t channel,
                 const Number* weight) {
  constexpr int kV = kVectors<kUnits>;
  Vector sums[kPixels][kV] = {};
  const Number* in = call.in + y * call.in_line + x * call.in_step;
  for (std::int64_t line = 0; line < call.window_lines; ++line) {
    accumulate<kPixels, kV>(in + line * call.window_line, call.in_step, call.run, weight, sums);
    weight += call.run * kV * kLanes;
  }
  const Epilogue& epilogue = call.epilogue;
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p) {
    const float* residual = epilogue.residual;
    if (residual) residual += y * epilogue.residual_line + (x + p) * epilogue.residual_step;
    float* out = call.out + y * call.out_line + (x + p) * call.out_step;
#pragma GCC unroll 16
    for (int v = 0; v < kV; ++v) {
      finish(epilogue, sums[p][v], (x + p) * epilogue.affine_step, channel + v * kLanes, residual, out);
    }
  }
}

template <int kUnits, int kPixels = kTilePixels, class Number>
inline void window_tile_of(std::int64_t pixels, const WindowSum<Number>& call, std::int64_t y, std::int64_t x,
                           std::int64_t channel, const Number* weight) {
  if constexpr (kPixels > 1) {
    if (pixels < kPixels) return window_tile_of<kUnits, kPixels - 1>(pixels, call, y, x, channel, weight);
  }
  window_tile<kPixels, kUnits>(call, y, x, channel, weight);
}

// Blocks of equal weights stay near while all pixels pass; a line is cut into nearly equal tiles.
template <int kUnits, class Number>
void window_block(const WindowSum<Number>& call, std::int64_t channel, const Number* weight) {
  const std::int64_t tiles = (call.width + kTilePixels - 1) / kTilePixels;
  for (std::int64_t y = 0; y < call.height; ++y) {
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const std::int64_t x = call.width * tile / tiles, end = call.width * (tile + 1) / tiles;
      window_tile_of<kUnits>(end - x, call, y, x, channel, weight);
    }
  }
}

// kBlock(units-constant, channel, weight) for each block of output channels; the last one may be narrower.
template <class Number, class Block>
inline void for_each_block(std::int64_t channels, const Number* weight, std::int64_t terms, Block block) {
  std::int64_t channel = 0;
  for (; channel + kTileUnits * kChannelUnit <= channels; channel += kTileUnits * kChannelUnit) {
    block.template operator()<kTileUnits>(channel, weight + channel * terms);
  }
  if (channel < channels) block.template operator()<1>(channel, weight + channel * terms);
}

template <class Number>
void window_sum(const WindowSum<Number>& call) {
  const auto block = [&call]<int kUnits>(std::int64_t channel, const Number* weight) {
    window_block<kUnits>(call, channel, weight);
  };
  for_each_block(call.channels, call.weight, call.window_lines * call.run, block);
}

#ifdef __AVX512BF16__
void to_bf16(const float* from, std::int64_t count, Bf16* to) {
  for (std::int64_t i = 0; i < count; i += kLanes) Products<Bf16>::store(to + i, load(from + i));
}
#endif

}  // namespace
}  // namespace mbpo_fast
