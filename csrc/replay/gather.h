// What both rings are asked for, and where they write it.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/check.h"

namespace mbpo_fast {

constexpr std::int64_t kMaxContext = 256;
constexpr std::int64_t kMaxSteps = std::int64_t{1} << 20;

enum class Padding { kReset, kZero };

// Frames before an episode's first are copies of the first (kReset) or zeros (kZero).
struct GatherSpec {
  std::int64_t n_step;
  double gamma;
  std::int64_t context;
  Padding padding;
};

// Buffers of the caller: B rows each, stacks [B, context, height, width]. With n_step 1 the two stacks of a
// row overlap: where next_obs is null, obs takes windows [B, context + 1, height, width] that hold both.
struct GatherOut {
  std::uint8_t* obs;
  std::uint8_t* next_obs;
  std::int64_t* action;
  float* reward;
  float* discount;
  std::uint8_t* terminated;
};

inline void check_context(const char* op, std::int64_t context, std::int64_t limit = kMaxContext) {
  MBPO_CHECK(context >= 1 && context <= limit, op, text("1 <= context <= ", limit), context);
}

inline void check_n_step(const char* op, std::int64_t n_step) {
  MBPO_CHECK(n_step >= 1 && n_step <= kMaxSteps, op, text("1 <= n_step <= ", kMaxSteps), n_step);
}

inline void check_gamma(const char* op, double gamma) {
  MBPO_CHECK(std::isfinite(gamma) && gamma >= 0.0 && gamma <= 1.0, op, "0 <= gamma <= 1", gamma);
}

}  // namespace mbpo_fast
