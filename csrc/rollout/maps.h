// Everything that is no sum over channels: pixels in and out, affine maps, reductions over the cells.
#pragma once

#include "rollout/kernels.h"
#include "rollout/vectors.h"

namespace mbpo_fast {
namespace {

inline void cells_line(const FrameCells& call, const std::uint8_t* newer, const std::uint8_t* older,
                       float scale, float* __restrict out) {
  const std::int64_t cell = call.cell;
  for (std::int64_t x = 0; x < call.width / cell; ++x) {
    for (std::int64_t i = 0; i < cell; ++i) {
      const int value = newer[x * cell + i], before = older ? older[x * cell + i] : 0;
      out[x * call.out_step + i] = scale * static_cast<float>(value - before);
    }
  }
}

using Bytes16 = std::uint8_t __attribute__((vector_size(16)));
using Shorts16 = std::int16_t __attribute__((vector_size(32)));
using Floats4 = float __attribute__((vector_size(16)));
using Floats16 = float __attribute__((vector_size(64)));

inline Shorts16 load_levels(const std::uint8_t* from) {
  Bytes16 bytes;
  __builtin_memcpy(&bytes, from, sizeof bytes);
  return __builtin_convertvector(bytes, Shorts16);
}

// Cells of four pixels, four cells at a time; the last four move left to end with the line.
inline void cells_line_by_four(const FrameCells& call, const std::uint8_t* newer, const std::uint8_t* older,
                               float scale, float* __restrict out) {
  for (std::int64_t next = 0; next < call.width; next += 16) {
    const std::int64_t x = at_most(next, call.width - 16);
    Shorts16 levels = load_levels(newer + x);
    if (older) levels -= load_levels(older + x);
    const Floats16 values = __builtin_convertvector(levels, Floats16) * scale;
    float* to = out + x / 4 * call.out_step;
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part) {
      const Floats4 four = {values[4 * part], values[4 * part + 1], values[4 * part + 2],
                            values[4 * part + 3]};
      __builtin_memcpy(to + part * call.out_step, &four, sizeof four);
    }
  }
}

inline void cells_of_frame(const FrameCells& call, const std::uint8_t* newer, const std::uint8_t* older,
                           float scale, std::int64_t channel) {
  for (std::int64_t line = 0; line < call.height; ++line) {
    const std::int64_t y = line / call.cell, from = line * call.width;
    float* out = call.out + y * call.out_line + channel + line % call.cell * call.cell;
    const std::uint8_t* before = older ? older + from : nullptr;
    const auto kernel = call.cell == 4 && call.width >= 16 ? cells_line_by_four : cells_line;
    kernel(call, newer + from, before, scale, out);
  }
}

void cells(const FrameCells& call) {
  const std::int64_t frame = call.height * call.width, area = call.cell * call.cell;
  const std::uint8_t* newest = call.frames + (call.count - 1) * frame;
  if (!call.differences) {
    for (std::int64_t f = 0; f < call.count; ++f) {
      cells_of_frame(call, call.frames + f * frame, nullptr, call.scale, f * area);
    }
    return;
  }
  for (std::int64_t f = 1; f < call.count; ++f) {
    const std::uint8_t* newer = call.frames + f * frame;
    cells_of_frame(call, newer, newer - frame, call.difference_scale, (f - 1) * area);
  }
  cells_of_frame(call, newest, nullptr, call.scale, (call.count - 1) * area);
}

void affine(const MapView& map, const float* scale, const float* shift, bool relu, float* out,
            std::int64_t out_line) {
  for (std::int64_t y = 0; y < map.height; ++y) {
    const float* from = map.in + y * map.in_line;
    float* to = out + y * out_line;
    for (std::int64_t x = 0; x < map.width; ++x, from += map.step, to += map.step) {
      for (std::int64_t c = 0; c < map.step; ++c) {
        const float value = from[c] * scale[c] + shift[c];
        to[c] = relu && value < 0.0f ? 0.0f : value;
      }
    }
  }
}

void rectify(const MapView& map, float* out, std::int64_t out_line) {
  for (std::int64_t y = 0; y < map.height; ++y) {
    const float* from = map.in + y * map.in_line;
    float* to = out + y * out_line;
    for (std::int64_t i = 0; i < map.width * map.step; ++i) to[i] = from[i] < 0.0f ? 0.0f : from[i];
  }
}

// out[c] = fold(out[c], value) over the cells, in their order.
template <class Fold>
inline void fold_cells(const MapView& map, float* __restrict out, Fold fold) {
  for (std::int64_t y = 0; y < map.height; ++y) {
    const float* from = map.in + y * map.in_line;
    for (std::int64_t x = 0; x < map.width; ++x, from += map.step) {
      for (std::int64_t c = 0; c < map.step; ++c) out[c] = fold(out[c], from[c], c);
    }
  }
}

void channel_sums(const MapView& map, float* out) {
  for (std::int64_t c = 0; c < map.step; ++c) out[c] = 0.0f;
  fold_cells(map, out, [](float sum, float value, std::int64_t) { return sum + value; });
}

void channel_squares(const MapView& map, const float* centre, float* out) {
  for (std::int64_t c = 0; c < map.step; ++c) out[c] = 0.0f;
  fold_cells(map, out, [centre](float sum, float value, std::int64_t c) {
    return sum + (value - centre[c]) * (value - centre[c]);
  });
}

void channel_maxima(const MapView& map, float* out) {
  for (std::int64_t c = 0; c < map.step; ++c) out[c] = map.in[c];
  fold_cells(map, out, [](float most, float value, std::int64_t) { return value > most ? value : most; });
}

// exp(x) for x <= 0 to 1e-7 of it: 2^n * e^r with |r| <= ln(2) / 2, the power by its exponent's bits.
inline float exponential(float x) {
  const float clipped = x > -87.0f ? x : -87.0f;
  const float shifted = clipped * 1.44269504f + 12582912.0f;  // rounds: 1.5 * 2^23
  const float n = shifted - 12582912.0f;
  const float r = (clipped - n * 0.693359375f) + n * 2.12194440e-4f;
  const float series =
      1.0f + r * (1.0f + r * (0.5f + r * (0.16666667f +
                                          r * (0.041666668f + r * (0.0083333333f + r * 0.00138888889f)))));
  const std::int32_t bits = (static_cast<std::int32_t>(n) + 127) << 23;
  float power;
  __builtin_memcpy(&power, &bits, sizeof power);
  return series * power;
}

void channel_exponentials(const MapView& map, const float* centre, float* out) {
  for (std::int64_t c = 0; c < map.step; ++c) out[c] = 0.0f;
  fold_cells(map, out, [centre](float sum, float value, std::int64_t c) {
    return sum + exponential(value - centre[c]);
  });
}

// Rounds half to even, as torch does; what is not a number becomes 0.
inline std::uint8_t gray_level(float value) {
  const float positive = value > 0.0f ? value : 0.0f;
  const float clipped = positive < 255.0f ? positive : 255.0f;
  return static_cast<std::uint8_t>(static_cast<std::int32_t>((clipped + 12582912.0f) - 12582912.0f));
}

template <int kCell>
inline void change_line(const FrameChange& call, const float* mask, const float* delta,
                        const std::uint8_t* __restrict newest, std::uint8_t* __restrict out) {
  const std::int64_t cell = kCell ? kCell : call.cell;
  for (std::int64_t x = 0; x < call.width / cell; ++x) {
    const std::int64_t from = x * call.head_step;
    for (std::int64_t i = 0; i < cell; ++i) {
      const float step = !mask || mask[from + i] > 0.0f ? 255.0f * delta[from + i] : 0.0f;
      out[x * cell + i] = gray_level(static_cast<float>(newest[x * cell + i]) + step);
    }
  }
}

void change(const FrameChange& call) {
  for (std::int64_t line = 0; line < call.height; ++line) {
    const float* first = call.head + line / call.cell * call.head_line + line % call.cell * call.cell;
    const float* mask = call.masked ? first : nullptr;
    const float* delta = call.masked ? first + call.cell * call.cell : first;
    const std::int64_t at = line * call.width;
    if (call.cell == 4) {
      change_line<4>(call, mask, delta, call.newest + at, call.out + at);
    } else {
      change_line<0>(call, mask, delta, call.newest + at, call.out + at);
    }
  }
}

}  // namespace
}  // namespace mbpo_fast
