#include "preprocess/shrink_integer.h"

namespace mbpo_fast {

namespace {

std::int64_t shrink_line(const PreprocessPlan& plan, const std::uint16_t* line,
                         const PreprocessScratch& scratch, std::uint8_t* out) {
  const Windows& windows = plan.windows;
  if (windows.first.empty()) return shrink_line_by_four(plan, line, scratch, out);
  const __m512i half = _mm512_set1_epi32(static_cast<int>(plan.divisor / 2));
  const __m512i divisor = _mm512_set1_epi32(static_cast<int>(plan.divisor));
  const __m512 inverse = _mm512_set1_ps(1.0f / static_cast<float>(plan.divisor));
  const std::int64_t count = static_cast<std::int64_t>(windows.first.size());
  const std::int32_t* first = windows.first.data();
  const std::int32_t* base = windows.base.data();
  std::int64_t ties = 0;
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
    unsigned mask = _mm512_cmpeq_epi32_mask(_mm512_madd_epi16(quotient, divisor), rounded);
    for (; mask; mask &= mask - 1) scratch.ties[ties++] = first[w] + __builtin_ctz(mask);
  }
  return ties;
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

const PreprocessKernels kPreprocessAvx512 = {shrink_integer<shrink_line>, look_up};

}  // namespace mbpo_fast
