#include "preprocess/plan.h"

#include <algorithm>

namespace mbpo_fast {

namespace {

constexpr std::int64_t kMaxTaps = 4;
constexpr std::int64_t kMaxRowSum = 128;    // 255 * 128 fits a signed 16-bit word
constexpr std::int64_t kMaxDivisor = 6000;  // see shrink_integer.h

std::int16_t unit(const AreaTable& columns, std::int64_t tap, std::int64_t d) {
  return tap < columns.taps ? columns.units[static_cast<std::size_t>(tap * columns.size + d)]
                            : std::int16_t{0};
}

// The last window moves left, so that it ends with the line.
Windows make_windows(const AreaTable& columns) {
  constexpr std::int64_t kOutputs = 16;
  Windows windows;
  for (std::int64_t d = 0; d < columns.size; d += kOutputs) {
    const std::int64_t first = std::min(d, columns.size - kOutputs);
    if (first < 0) return {};
    const std::int64_t base = columns.start[static_cast<std::size_t>(first)];
    windows.first.push_back(static_cast<std::int32_t>(first));
    windows.base.push_back(static_cast<std::int32_t>(base));
    for (std::int64_t j = first; j < first + kOutputs; ++j) {
      const std::int64_t word = columns.start[static_cast<std::size_t>(j)] - base;
      if (word < 0 || word + 1 >= 2 * kOutputs) return {};
      for (std::int64_t half = 0; half < 2; ++half) {
        windows.index.push_back(static_cast<std::int16_t>(word + half));
        windows.units01.push_back(unit(columns, half, j));
        windows.units23.push_back(unit(columns, 2 + half, j));
      }
    }
  }
  return windows;
}

}  // namespace

PreprocessPlan make_plan(std::int64_t source_height, std::int64_t source_width, std::int64_t height,
                         std::int64_t width) {
  PreprocessPlan plan{source_height,
                      source_width,
                      height,
                      width,
                      make_area_table(source_height, height),
                      make_area_table(source_width, width),
                      0,
                      {},
                      {}};
  const AreaTable& rows = plan.rows;
  const AreaTable& columns = plan.columns;
  const bool whole = rows.unit_sum > 0 && rows.unit_sum <= kMaxRowSum && columns.unit_sum > 0 &&
                     columns.unit_sum <= kMaxDivisor && rows.taps <= kMaxTaps && columns.taps <= kMaxTaps;
  const std::int64_t divisor = whole ? rows.unit_sum * columns.unit_sum : 0;
  // An odd divisor would put the halves between two whole numbers.
  if (divisor > kMaxDivisor || divisor % 2 != 0) return plan;
  plan.divisor = divisor;
  if (divisor == 0) return plan;
  for (std::int64_t d = 0; d < width; ++d) {
    for (std::int64_t tap = 0; tap < kMaxTaps; ++tap) plan.units.push_back(unit(columns, tap, d));
  }
  plan.windows = make_windows(columns);
  return plan;
}

}  // namespace mbpo_fast
