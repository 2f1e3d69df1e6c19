// Arithmetic of places and sizes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mbpo_fast::gpu {

inline std::size_t index_of(std::int64_t reg) {
  return static_cast<std::size_t>(reg);
}

inline std::int32_t narrow(std::int64_t value) {
  return static_cast<std::int32_t>(value);
}

// `value` rounded up to a multiple of `unit`.
inline std::int64_t whole(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace mbpo_fast::gpu
