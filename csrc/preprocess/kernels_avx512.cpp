#include "preprocess/shrink_integer.h"

namespace mbpo_fast {

namespace {

std::int64_t shrink_line(const PreprocessPlan& plan, const std::uint16_t* line, std::int64_t begin,
                         std::int32_t* ties, std::uint8_t* out) {
  const Windows& windows = plan.windows;
  if (windows.first.empty()) return shrink_line_by_four(plan, line, begin, ties, out);
  const __m512i half = _mm512_set1_epi32(static_cast<int>(plan.divisor / 2));
  const __m512i divisor = _mm512_set1_epi32(static_cast<int>(plan.divisor));
  const __m512 inverse = _mm512_set1_ps(1.0f / static_cast<float>(plan.divisor));
  const auto count = static_cast<std::int64_t>(windows.first.size());
  const std::int32_t* first = windows.first.data();
  const std::int32_t* base = windows.base.data();
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  std::int64_t found = 0;
  for (std::int64_t w = 0; w < count; ++w) {
    const std::uint16_t* source = line + base[w];
    const __m512i words = _mm512_loadu_si512(windows.index.data() + 32 * w);
    const __m512i taps01 = _mm512_permutexvar_epi16(words, _mm512_loadu_si512(source));
    const __m512i taps23 = _mm512_permutexvar_epi16(words, _mm512_loadu_si512(source + 2));
    const __m512i sum =
        _mm512_add_epi32(_mm512_madd_epi16(taps01, _mm512_loadu_si512(windows.units01.data() + 32 * w)),
                         _mm512_madd_epi16(taps23, _mm512_loadu_si512(windows.units23.data() + 32 * w)));
    const __m512i rounded = _mm512_add_epi32(sum, half);
    const __m512 value = _mm512_add_ps(_mm512_cvtepi32_ps(rounded), _mm512_set1_ps(0.5f));
    const __m512i quotient = _mm512_cvttps_epi32(_mm512_mul_ps(value, inverse));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + first[w]), _mm512_cvtepi32_epi8(quotient));
    const __mmask16 tie = _mm512_cmpeq_epi32_mask(_mm512_madd_epi16(quotient, divisor), rounded);
    // All lanes are written, whether there is a tie or not: a branch would be guessed wrong at every tie.
    const __m512i pixel = _mm512_add_epi32(lane, _mm512_set1_epi32(static_cast<int>(begin) + first[w]));
    _mm512_storeu_si512(ties + found, _mm512_maskz_compress_epi32(tie, pixel));
    found += __builtin_popcount(tie);
  }
  return found;
}

__m512i low_words(const std::int64_t* table, __m512i index, __mmask16 lanes) {
  return _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), lanes, index, table, 8);
}

__m512 floats_at(const float* table, __m512i index, __mmask16 lanes) {
  return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes, index, table, 4);
}

// 16 pixels at a time, each summed as float_pixel does it. One look at a row takes its four bytes, which are
// all its taps: near the end of the screens, where there are no four, float_pixel does it.
void resolve_ties(const Screens& screens, const PreprocessPlan& plan, std::int64_t top,
                  const std::int32_t* ties, std::int64_t count, std::uint8_t* out) {
  if (plan.width > kTiePixels || plan.source_height > (1 << 30) / plan.source_width) {
    return resolve_ties_plain(screens, plan, top, ties, count, out);
  }
  const std::int64_t rows = plan.rows.taps, columns = plan.columns.taps;
  const auto width = static_cast<int>(plan.width), height = static_cast<int>(plan.height);
  const auto step = static_cast<int>(plan.source_width);
  const std::int64_t last = plan.source_height * plan.source_width - 4 - (rows - 1) * plan.source_width;
  const __m512i source_width = _mm512_set1_epi32(step), byte = _mm512_set1_epi32(0xFF);
  const __m512 rounder = _mm512_set1_ps(0x1.8p23f), most = _mm512_set1_ps(255.0f);
  for (std::int64_t t = 0; t < count; t += 16) {
    const auto lanes = static_cast<__mmask16>(count - t < 16 ? (1u << (count - t)) - 1 : 0xFFFFu);
    const __m512i pixel = _mm512_maskz_loadu_epi32(lanes, ties + t);
    // (pixel + 0.5) / width is no nearer to a whole number than 0.5 / width: floats are exact enough.
    const __m512 half_on = _mm512_add_ps(_mm512_cvtepi32_ps(pixel), _mm512_set1_ps(0.5f));
    const __m512i down =
        _mm512_cvttps_epi32(_mm512_div_ps(half_on, _mm512_set1_ps(static_cast<float>(width))));
    const __m512i x = _mm512_sub_epi32(pixel, _mm512_mullo_epi32(down, _mm512_set1_epi32(width)));
    const __m512i y = _mm512_add_epi32(down, _mm512_set1_epi32(static_cast<int>(top)));
    const __m512i corner =
        _mm512_add_epi32(_mm512_mullo_epi32(low_words(plan.rows.start.data(), y, lanes), source_width),
                         low_words(plan.columns.start.data(), x, lanes));
    const __mmask16 inside =
        _mm512_mask_cmple_epi32_mask(lanes, corner, _mm512_set1_epi32(static_cast<int>(last)));
    __m512 sum = _mm512_setzero_ps();
    for (std::int64_t r = 0; r < rows; ++r) {
      const __m512i at = _mm512_add_epi32(corner, _mm512_set1_epi32(static_cast<int>(r) * step));
      const __m512i zero = _mm512_setzero_si512();
      const __m512i seen = _mm512_max_epu8(_mm512_mask_i32gather_epi32(zero, inside, at, screens.first, 1),
                                           _mm512_mask_i32gather_epi32(zero, inside, at, screens.second, 1));
      __m512 line = _mm512_setzero_ps();
      for (std::int64_t c = 0; c < columns; ++c) {
        const __m512i level = _mm512_and_si512(_mm512_srl_epi32(seen, _mm_cvtsi64_si128(8 * c)), byte);
        const __m512 weight = floats_at(plan.columns.weight.data() + c * width, x, lanes);
        line = _mm512_add_ps(line, _mm512_mul_ps(_mm512_cvtepi32_ps(level), weight));
      }
      const __m512 weight = floats_at(plan.rows.weight.data() + r * height, y, lanes);
      sum = _mm512_add_ps(sum, _mm512_mul_ps(line, weight));
    }
    const __m512 rounded = _mm512_sub_ps(_mm512_add_ps(sum, rounder), rounder);
    alignas(64) std::int32_t level[16];
    _mm512_store_si512(level, _mm512_cvttps_epi32(_mm512_min_ps(rounded, most)));
    for (int i = 0; i < 16 && t + i < count; ++i) {
      const std::int32_t at = ties[t + i];
      out[at] = inside >> i & 1 ? static_cast<std::uint8_t>(level[i])
                                : float_pixel(screens, plan, top + at / width, at % width);
    }
  }
}

// A byte's low 7 bits choose within half a table, its top bit between the halves.
std::uint8_t look_up(const std::uint8_t* screen, const std::uint8_t* table, const std::uint8_t* over,
                     std::int64_t count, std::uint8_t* out) {
  const __m512i quarter0 = _mm512_loadu_si512(table), quarter1 = _mm512_loadu_si512(table + 64);
  const __m512i quarter2 = _mm512_loadu_si512(table + 128), quarter3 = _mm512_loadu_si512(table + 192);
  __m512i largest = _mm512_setzero_si512();
  std::int64_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const __m512i bytes = _mm512_loadu_si512(screen + i);
    const __m512i low = _mm512_permutex2var_epi8(quarter0, bytes, quarter1);
    const __m512i high = _mm512_permutex2var_epi8(quarter2, bytes, quarter3);
    const __m512i values = _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), low, high);
    _mm512_storeu_si512(out + i, over ? _mm512_max_epu8(values, _mm512_loadu_si512(over + i)) : values);
    largest = _mm512_max_epu8(largest, values);
  }
  alignas(64) std::uint8_t lanes[64];
  _mm512_store_si512(lanes, largest);
  std::uint8_t result = look_up_plain(screen + i, table, over ? over + i : nullptr, count - i, out + i);
  for (const std::uint8_t lane : lanes) result = lane > result ? lane : result;
  return result;
}

}  // namespace

const PreprocessKernels kPreprocessAvx512 = {shrink_integer<shrink_line, resolve_ties>, look_up};

}  // namespace mbpo_fast
