// Vectors of float32 as wide as the instruction set that this unit is compiled for.
//
// Everything in this header and in those that include it has internal linkage, and nothing of the standard
// library is called: a function compiled for a wider instruction set must never be the one that the linker
// keeps for all.
#pragma once

#include <cstdint>

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#include "rollout/kernels.h"

namespace mbpo_fast {
namespace {

#if defined(__AVX512F__)
constexpr std::int64_t kLanes = 16;
constexpr int kTilePixels = 12, kTileUnits = 2;  // 24 sums, 2 weights and a pixel in 32 registers
#elif defined(__AVX2__)
constexpr std::int64_t kLanes = 8;
constexpr int kTilePixels = 6, kTileUnits = 1;  // 12 sums, 2 weights and a pixel in 16 registers
#else
constexpr std::int64_t kLanes = 4;
constexpr int kTilePixels = 3, kTileUnits = 1;  // 12 sums, 4 weights: the compiler's best effort
#endif

using Vector = float __attribute__((vector_size(kLanes * sizeof(float))));

inline Vector load(const float* from) {
  Vector value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

inline void store(float* to, Vector value) {
  __builtin_memcpy(to, &value, sizeof value);
}

inline Vector splat(float value) {
  return value - Vector{};
}

// Products of `kDepth` neighbouring terms at a time, summed in float32.
template <class Number>
struct Products;

template <>
struct Products<float> {
  static constexpr std::int64_t kDepth = 1;
  using Terms = Vector;
  static Terms load_weights(const float* from) { return load(from); }
  static Terms splat_inputs(const float* from) { return splat(*from); }
  static Vector add(Vector sum, Terms x, Terms w) { return sum + x * w; }
  static void store(float* to, Vector value) { mbpo_fast::store(to, value); }
};

#ifdef __AVX512BF16__
template <>
struct Products<Bf16> {
  static constexpr std::int64_t kDepth = 2;
  using Terms = __m512bh;
  static Terms load_weights(const Bf16* from) {
    Terms pairs;
    __builtin_memcpy(&pairs, from, sizeof pairs);
    return pairs;
  }
  static Terms splat_inputs(const Bf16* from) {
    std::int32_t pair;
    __builtin_memcpy(&pair, from, sizeof pair);
    const __m512i pairs = _mm512_set1_epi32(pair);
    Terms terms;
    __builtin_memcpy(&terms, &pairs, sizeof terms);
    return terms;
  }
  static Vector add(Vector sum, Terms x, Terms w) { return _mm512_dpbf16_ps(sum, x, w); }
  static void store(Bf16* to, Vector value) {
    const __m256bh rounded = _mm512_cvtneps_pbh(value);
    __builtin_memcpy(to, &rounded, sizeof rounded);
  }
};
#endif

inline Vector at_least(Vector value, Vector bound) {
  return value > bound ? value : bound;
}

constexpr std::int64_t at_least(std::int64_t value, std::int64_t bound) {
  return value > bound ? value : bound;
}

constexpr std::int64_t at_most(std::int64_t value, std::int64_t bound) {
  return value < bound ? value : bound;
}

}  // namespace
}  // namespace mbpo_fast
