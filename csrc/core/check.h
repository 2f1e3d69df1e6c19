// Sizes, and front-door checks: a failed one throws std::invalid_argument("[op] expected X, got Y").
#pragma once

#include <cstdint>
#include <initializer_list>
#include <sstream>
#include <stdexcept>
#include <string>

namespace mbpo_fast {

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return stream.str();
}

[[noreturn]] inline void fail(const char* op, const std::string& expected, const std::string& got) {
  throw std::invalid_argument(text("[", op, "] expected ", expected, ", got ", got));
}

// Product of non-negative sizes; throws where it does not fit in 63 bits.
inline std::int64_t checked_product(const char* op, std::initializer_list<std::int64_t> sizes) {
  std::int64_t product = 1;
  for (const std::int64_t size : sizes) {
    if (__builtin_mul_overflow(product, size, &product)) fail(op, "a size below 2**63 bytes", "more");
  }
  return product;
}

inline std::int64_t ceil_div(std::int64_t value, std::int64_t by) {
  return (value + by - 1) / by;
}

}  // namespace mbpo_fast

// The texts are evaluated only when the check fails, so that a check costs one branch.
#define MBPO_CHECK(condition, op, expected, got)                                  \
  do {                                                                            \
    if (!(condition)) [[unlikely]]                                                \
      ::mbpo_fast::fail(op, ::mbpo_fast::text(expected), ::mbpo_fast::text(got)); \
  } while (false)
