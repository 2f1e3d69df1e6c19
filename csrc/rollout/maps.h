// Maps to maps without sums over channels, and reductions over the cells.
#pragma once

#include "rollout/kernels.h"
#include "rollout/vectors.h"

namespace mbpo_fast {
namespace {

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

void add(const MapView& map, const MapView& other, bool relu, float* out, std::int64_t out_line) {
  for (std::int64_t y = 0; y < map.height; ++y) {
    const float *a = map.in + y * map.in_line, *b = other.in + y * other.in_line;
    float* to = out + y * out_line;
    for (std::int64_t i = 0; i < map.width * map.step; ++i) {
      const float value = a[i] + b[i];
      to[i] = relu && value < 0.0f ? 0.0f : value;
    }
  }
}

void clamp(const MapView& map, float least, float most, float* out, std::int64_t out_line) {
  for (std::int64_t y = 0; y < map.height; ++y) {
    const float* from = map.in + y * map.in_line;
    float* to = out + y * out_line;
    for (std::int64_t i = 0; i < map.width * map.step; ++i) {
      const float raised = from[i] > least ? from[i] : least;
      to[i] = raised < most ? raised : most;
    }
  }
}

// The maximum over one window, whose cells [top, bottom) x [left, right) lie on the map.
inline void window_maximum(const MapView& map, std::int64_t top, std::int64_t bottom, std::int64_t left,
                           std::int64_t right, float* __restrict out) {
  for (std::int64_t c = 0; c < map.step; ++c) out[c] = map.in[top * map.in_line + left * map.step + c];
  for (std::int64_t y = top; y < bottom; ++y) {
    for (std::int64_t x = left; x < right; ++x) {
      const float* from = map.in + y * map.in_line + x * map.step;
      for (std::int64_t c = 0; c < map.step; ++c) out[c] = from[c] > out[c] ? from[c] : out[c];
    }
  }
}

void max_pool(const MaxPool& call) {
  const MapView& map = call.map;
  for (std::int64_t y = 0; y < call.height; ++y) {
    const std::int64_t top = y * call.stride - call.padding;
    for (std::int64_t x = 0; x < call.width; ++x) {
      const std::int64_t left = x * call.stride - call.padding;
      window_maximum(map, at_least(top, 0), at_most(top + call.kernel, map.height), at_least(left, 0),
                     at_most(left + call.kernel, map.width), call.out + y * call.out_line + x * map.step);
    }
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

void channel_magnitudes(const MapView& map, float* out) {
  for (std::int64_t c = 0; c < map.step; ++c) out[c] = 0.0f;
  fold_cells(map, out,
             [](float sum, float value, std::int64_t) { return sum + (value < 0.0f ? -value : value); });
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

}  // namespace
}  // namespace mbpo_fast
