// The integer form of an area resize, shared by the kernels of every instruction set.
//
// With cells and pixels in common units a frame's pixel is round(N / D), N and D whole numbers. OpenCV sums
// float32 products instead: with at most 4 taps an axis its sum is less than 10 * 255 * 2**-24 < 1.53e-4 from
// N / D. What is no half is at least 1 / D >= 1 / 6000 away from one, so only exact halves can round
// differently, and they are summed again in OpenCV's own order.
//
// Everything here has internal linkage, and of the standard library only accessors of vector are used: a
// function compiled for a wider instruction set must never be the one that the linker keeps for all.
#pragma once

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include <cstdint>

#include "preprocess/kernels.h"

namespace mbpo_fast {
namespace {

// kTaps rows of the screens' maximum, weighted and summed: at most 255 * 128.
template <int kTaps>
inline void sum_rows(const std::uint8_t* first, const std::uint8_t* second, std::int64_t width,
                     const std::uint16_t* units, std::uint16_t* __restrict line) {
  for (std::int64_t x = 0; x < width; ++x) {
    std::uint16_t total = 0;
    for (int t = 0; t < kTaps; ++t) {
      const std::uint8_t a = first[t * width + x], b = second[t * width + x];
      total = static_cast<std::uint16_t>(total + static_cast<std::uint16_t>(units[t] * (a > b ? a : b)));
    }
    line[x] = total;
  }
}

inline void sum_rows_at(const Screens& screens, const PreprocessPlan& plan, std::int64_t y,
                        std::uint16_t* line) {
  std::uint16_t units[4] = {};
  for (std::int64_t t = 0; t < plan.rows.taps; ++t) {
    units[t] = static_cast<std::uint16_t>(plan.rows.units.data()[t * plan.height + y]);
  }
  const std::int64_t width = plan.source_width, from = plan.rows.start.data()[y] * width;
  const std::uint8_t *first = screens.first + from, *second = screens.second + from;
  switch (plan.rows.taps) {
    case 1:
      return sum_rows<1>(first, second, width, units, line);
    case 2:
      return sum_rows<2>(first, second, width, units, line);
    case 3:
      return sum_rows<3>(first, second, width, units, line);
    default:
      return sum_rows<4>(first, second, width, units, line);
  }
}

// Ties are numbers of pixels from the first one of row `top`, which is the first of `out`.
inline void resolve_ties_plain(const Screens& screens, const PreprocessPlan& plan, std::int64_t top,
                               const std::int32_t* ties, std::int64_t count, std::uint8_t* out) {
  for (std::int64_t t = 0; t < count; ++t) {
    out[ties[t]] = float_pixel(screens, plan, top + ties[t] / plan.width, ties[t] % plan.width);
  }
}

// kShrinkLine(plan, line, first, ties, out) sums the columns of a line, divides, writes `first` + x for every
// column x whose sum is an exact half to `ties`, and returns how many it wrote. kResolveTies(screens, plan,
// top, ties, count, out) sums these again, many at a time, because they are few and far between.
template <auto kShrinkLine, auto kResolveTies>
void shrink_integer(const Screens& screens, const PreprocessPlan& plan, const PreprocessScratch& scratch,
                    std::uint8_t* out) {
  const std::int64_t stride = plan.source_width + kLinePadding, width = plan.width;
  std::int64_t ties = 0, begin = 0;  // the row from which pixels are counted
  for (std::int64_t top = 0; top < plan.height; top += kLines) {
    const std::int64_t lines = plan.height - top < kLines ? plan.height - top : kLines;
    for (std::int64_t i = 0; i < lines; ++i) sum_rows_at(screens, plan, top + i, scratch.lines + i * stride);
    for (std::int64_t y = top; y < top + lines; ++y) {
      if (ties > kTiesAtOnce || (y - begin) * width > kTiePixels) {
        kResolveTies(screens, plan, begin, scratch.ties, ties, out + begin * width);
        ties = 0, begin = y;
      }
      ties += kShrinkLine(plan, scratch.lines + (y - top) * stride, (y - begin) * width, scratch.ties + ties,
                          out + y * width);
    }
  }
  kResolveTies(screens, plan, begin, scratch.ties, ties, out + begin * width);
}

// A line without wide registers. The half added to N + D / 2 keeps the float quotient away from whole
// numbers.
inline std::int64_t shrink_line_plain(const PreprocessPlan& plan, const std::uint16_t* line,
                                      std::int64_t first, std::int32_t* ties, std::uint8_t* out) {
  const std::int64_t* start = plan.columns.start.data();
  const std::int16_t* units = plan.units.data();
  const std::int32_t divisor = static_cast<std::int32_t>(plan.divisor);
  const float inverse = 1.0f / static_cast<float>(divisor);
  std::int64_t count = 0;
  for (std::int64_t x = 0; x < plan.width; ++x) {
    std::int32_t sum = divisor / 2;
    for (std::int64_t t = 0; t < plan.columns.taps; ++t) sum += units[4 * x + t] * line[start[x] + t];
    const auto quotient = static_cast<std::int32_t>((static_cast<float>(sum) + 0.5f) * inverse);
    out[x] = static_cast<std::uint8_t>(quotient);
    if (quotient * divisor == sum) ties[count++] = static_cast<std::int32_t>(first + x);
  }
  return count;
}

#ifdef __SSE2__
inline __m128i load_pair(const std::uint16_t* first, const std::uint16_t* second) {
  return _mm_unpacklo_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(first)),
                            _mm_loadl_epi64(reinterpret_cast<const __m128i*>(second)));
}

// Four outputs at a time, each from four words of its own; the last four move left to end with the line, and
// may note a tie twice.
inline std::int64_t shrink_line_by_four(const PreprocessPlan& plan, const std::uint16_t* line,
                                        std::int64_t first, std::int32_t* ties, std::uint8_t* out) {
  if (plan.width < 4) return shrink_line_plain(plan, line, first, ties, out);
  const std::int64_t* start = plan.columns.start.data();
  const std::int16_t* units = plan.units.data();
  const __m128i half = _mm_set1_epi32(static_cast<int>(plan.divisor / 2));
  const __m128i divisor = _mm_set1_epi32(static_cast<int>(plan.divisor));
  const __m128 inverse = _mm_set1_ps(1.0f / static_cast<float>(plan.divisor));
  std::int64_t count = 0;
  for (std::int64_t next = 0; next < plan.width; next += 4) {
    const std::int64_t x = next + 4 <= plan.width ? next : plan.width - 4;
    const auto* weights = reinterpret_cast<const __m128i*>(units + 4 * x);
    const __m128i low =
        _mm_madd_epi16(load_pair(line + start[x], line + start[x + 1]), _mm_loadu_si128(weights));
    const __m128i high =
        _mm_madd_epi16(load_pair(line + start[x + 2], line + start[x + 3]), _mm_loadu_si128(weights + 1));
    const __m128 low_sums = _mm_castsi128_ps(low), high_sums = _mm_castsi128_ps(high);
    const __m128i even = _mm_castps_si128(_mm_shuffle_ps(low_sums, high_sums, 0x88));
    const __m128i odd = _mm_castps_si128(_mm_shuffle_ps(low_sums, high_sums, 0xDD));
    const __m128i sum = _mm_add_epi32(_mm_add_epi32(even, odd), half);
    const __m128 value = _mm_add_ps(_mm_cvtepi32_ps(sum), _mm_set1_ps(0.5f));
    const __m128i quotient = _mm_cvttps_epi32(_mm_mul_ps(value, inverse));
    const __m128i tie = _mm_cmpeq_epi32(_mm_madd_epi16(quotient, divisor), sum);
    const __m128i words = _mm_packs_epi32(quotient, quotient);
    const std::int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    __builtin_memcpy(out + x, &bytes, sizeof bytes);
    for (int mask = _mm_movemask_ps(_mm_castsi128_ps(tie)); mask; mask &= mask - 1) {
      ties[count++] = static_cast<std::int32_t>(first + x) + __builtin_ctz(static_cast<unsigned>(mask));
    }
  }
  return count;
}
#endif

// A table of 256 bytes, one at a time.
inline std::uint8_t look_up_plain(const std::uint8_t* screen, const std::uint8_t* table,
                                  const std::uint8_t* over, std::int64_t count, std::uint8_t* out) {
  std::uint8_t largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint8_t value = table[screen[i]];
    out[i] = over && over[i] > value ? over[i] : value;
    largest = value > largest ? value : largest;
  }
  return largest;
}

}  // namespace
}  // namespace mbpo_fast
