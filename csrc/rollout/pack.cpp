#include "rollout/pack.h"

#include <algorithm>
#include <array>
#include <bit>

#include "rollout/kernels.h"

namespace mbpo_fast {

namespace {

// G of F(3, 3) at the points 0, 1, -1, 2 and infinity: the rows that turn three weights into five.
constexpr std::array<std::array<double, 3>, 5> kWeightPoints = {
    {{0.5, 0, 0}, {-0.5, -0.5, -0.5}, {-1.0 / 6, 1.0 / 6, -1.0 / 6}, {1.0 / 6, 1.0 / 3, 2.0 / 3}, {0, 0, 1}}};

AlignedFloats zeros(std::int64_t count) {
  return AlignedFloats(static_cast<std::size_t>(count));
}

// Films by action: [A or 1, (scale, shift), stored]. A sum's bias goes through the film with it.
AlignedFloats pack_films(const Layer& layer, std::int64_t actions, std::int64_t stored,
                         const float* weights) {
  const bool has_film = layer.film != kNone, adds_bias = layer.kind != LayerKind::kNorm;
  const std::int64_t films = has_film ? actions : 1, out = layer.channels;
  AlignedFloats packed = zeros(films * 2 * stored);
  for (std::int64_t a = 0; a < films; ++a) {
    for (std::int64_t c = 0; c < out; ++c) {
      const float* film = has_film ? weights + layer.film + a * out + c : nullptr;
      const float scale = film ? 1.0f + film[0] : 1.0f, shift = film ? film[films * out] : 0.0f;
      float* to = packed.data() + 2 * a * stored + c;
      to[0] = scale;
      to[stored] = (adds_bias ? weights[layer.bias + c] * scale : 0.0f) + shift;
    }
  }
  return packed;
}

// What a sum multiplies: `terms` inputs, of which the plain weights have the channels [first, first + given).
struct Terms {
  std::int64_t lines, columns, first, given, step;
};

// Blocks of output channels, each [terms, wide]. place(o, to, width) writes the terms of output channel o to
// to[t * width].
template <class Place>
AlignedFloats pack_blocks(std::int64_t out, std::int64_t terms, std::int64_t wide, Place place) {
  const std::int64_t stored = whole_units(out);
  AlignedFloats packed = zeros(terms * stored);
  for (std::int64_t o = 0; o < out; ++o) {
    const std::int64_t block = o / wide * wide;
    place(o, packed.data() + block * terms + o - block, std::min(wide, stored - block));
  }
  return packed;
}

AlignedFloats pack_windows(const Terms& in, std::int64_t out, std::int64_t block, const float* weights) {
  const std::int64_t cells = in.lines * in.columns;
  return pack_blocks(out, cells * in.step, block, [&](std::int64_t o, float* to, std::int64_t width) {
    const float* from = weights + o * cells * in.given;
    for (std::int64_t cell = 0; cell < cells; ++cell) {
      float* terms = to + (cell * in.step + in.first) * width;
      for (std::int64_t c = 0; c < in.given; ++c) terms[c * width] = *from++;
    }
  });
}

AlignedFloats pack_winograd(const Terms& in, std::int64_t out, std::int64_t block, const float* weights) {
  const std::int64_t step = in.step - in.first;
  return pack_blocks(out, kWinogradPoints * step, block, [&](std::int64_t o, float* to, std::int64_t width) {
    const float* from = weights + o * 9 * in.given;
    for (std::int64_t point = 0; point < kWinogradPoints; ++point) {
      const auto& rows = kWeightPoints[static_cast<std::size_t>(point / kWinogradPatch)];
      const auto& columns = kWeightPoints[static_cast<std::size_t>(point % kWinogradPatch)];
      for (std::int64_t c = 0; c < in.given; ++c) {
        double sum = 0.0;
        for (std::size_t cell = 0; cell < 9; ++cell) {
          const float weight = from[static_cast<std::int64_t>(cell) * in.given + c];
          sum += rows[cell / 3] * columns[cell % 3] * static_cast<double>(weight);
        }
        to[(point * step + c) * width] = static_cast<float>(sum);
      }
    }
  });
}

// The nearest bfloat16, ties to even.
Bf16 to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<Bf16>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

// Blocks of [terms, wide] numbers to blocks of [terms / 2, wide, 2] of bfloat16.
AlignedVector<Bf16> pair_terms(const AlignedFloats& blocks, std::int64_t out, std::int64_t wide) {
  const std::int64_t stored = whole_units(out), terms = static_cast<std::int64_t>(blocks.size()) / stored;
  AlignedVector<Bf16> pairs(blocks.size());
  for (std::int64_t first = 0; first < stored; first += wide) {
    const std::int64_t width = std::min(wide, stored - first);
    const float* from = blocks.data() + first * terms;
    Bf16* to = pairs.data() + first * terms;
    for (std::int64_t t = 0; t < terms; ++t, from += width) {
      for (std::int64_t o = 0; o < width; ++o) to[(t / 2 * width + o) * 2 + t % 2] = to_bf16(from[o]);
    }
  }
  return pairs;
}

// A map in its register's layout: readers find it where a layer would have written it.
AlignedFloats pack_map(const Register& own, const float* weights) {
  AlignedFloats packed = zeros(own.size());
  for (std::int64_t y = 0; y < own.shape.height; ++y) {
    for (std::int64_t x = 0; x < own.shape.width; ++x, weights += own.shape.channels) {
      std::copy_n(weights, own.shape.channels, packed.data() + own.start() + y * own.line() + x * own.step);
    }
  }
  return packed;
}

}  // namespace

PackedLayer pack_layer(const Network& network, std::size_t index, const float* weights) {
  const Layer& layer = network.layers()[index];
  const std::int64_t out = layer.channels, stored = network.stored_scales(index);
  const float* own = weights + layer.weight;
  switch (layer.kind) {
    case LayerKind::kFrames:
    case LayerKind::kClamp:
      return {{own, own + 2}, {}, {}, {}};
    case LayerKind::kConstant:
      return {pack_map(network.registers()[index], own), {}, {}, {}};
    case LayerKind::kExpectation:
      return {{own, own + layer.option}, {}, {}, {}};
    case LayerKind::kMeans:
    case LayerKind::kActivation:
    case LayerKind::kConcat:
    case LayerKind::kMaxPool:
    case LayerKind::kPool:
    case LayerKind::kDepthToSpace:
      return {};
    case LayerKind::kConvolution:
    case LayerKind::kLinear:
    case LayerKind::kNorm:
      break;
  }
  AlignedFloats films = pack_films(layer, network.input().actions, stored, weights);
  if (layer.kind == LayerKind::kNorm) {
    AlignedFloats gain(own, own + out), bias(weights + layer.bias, weights + layer.bias + out);
    gain.resize(static_cast<std::size_t>(stored)), bias.resize(static_cast<std::size_t>(stored));
    return {std::move(gain), std::move(bias), std::move(films), {}};
  }
  const Register& in = network.registers()[static_cast<std::size_t>(layer.input)];
  const bool is_linear = layer.kind == LayerKind::kLinear;
  const std::int64_t first = is_linear ? 0 : layer.option;
  const Terms terms{is_linear ? in.shape.height : layer.kernel, is_linear ? in.shape.width : layer.kernel,
                    first, in.shape.channels - first, in.step};
  const auto pack = network.is_winograd(index) ? pack_winograd : pack_windows;
  AlignedFloats blocks = pack(terms, out, network.kernels().block, own);
  if (!network.is_bf16(index)) return {std::move(blocks), {}, std::move(films), {}};
  return {{}, {}, std::move(films), pair_terms(blocks, out, network.kernels().block)};
}

}  // namespace mbpo_fast
