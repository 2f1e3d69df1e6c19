// Vectors of float32 as wide as the instruction set that this unit is compiled for.
//
// Everything in this header and in those that include it has internal linkage, and nothing of the standard
// library is called: a function compiled for a wider instruction set must never be the one that the linker
// keeps for all.
#pragma once

#include <cstdint>

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
