#include <algorithm>
#include <vector>

#include "preprocess/kernels.h"

namespace mbpo_fast {

namespace {

// kTaps 0 stands for any number of taps; a known number lets the compiler unroll the sum.
template <std::int64_t kTaps>
void shrink_row(const std::uint8_t* row, const AreaTable& columns, float* line) {
  const std::int64_t taps = kTaps ? kTaps : columns.taps, size = columns.size;
  const std::int64_t* start = columns.start.data();
  const float* weight = columns.weight.data();
  for (std::int64_t d = 0; d < size; ++d) {
    const std::uint8_t* source = row + start[d];
    float total = 0.0f;
    for (std::int64_t t = 0; t < taps; ++t) total += static_cast<float>(source[t]) * weight[t * size + d];
    line[d] = total;
  }
}

std::uint8_t larger(std::uint8_t a, std::uint8_t b) {
  return std::max(a, b);
}

using ShrinkRow = void (*)(const std::uint8_t*, const AreaTable&, float*);

ShrinkRow shrink_row_for(std::int64_t taps) {
  switch (taps) {
    case 2:
      return shrink_row<2>;
    case 3:
      return shrink_row<3>;
    case 4:
      return shrink_row<4>;
    default:
      return shrink_row<0>;
  }
}

// Adding 1.5 * 2**23 rounds a float below 2**22 to an integer, half to even, without a call into the library.
std::uint8_t round_half_even(float sum) {
  constexpr float kRounder = 0x1.8p23f;
  return static_cast<std::uint8_t>(static_cast<std::int32_t>(std::min((sum + kRounder) - kRounder, 255.0f)));
}

}  // namespace

void shrink_float(const Screens& screens, const PreprocessPlan& plan, std::uint8_t* out) {
  const std::int64_t width = plan.width;
  std::vector<std::uint8_t> row(static_cast<std::size_t>(plan.source_width));
  std::vector<float> line(static_cast<std::size_t>(width)), sum(static_cast<std::size_t>(width));
  const ShrinkRow shrink = shrink_row_for(plan.columns.taps);
  std::int64_t ready = -1;  // the source row that `line` holds: neighbouring cells share one
  for (std::int64_t d = 0; d < plan.height; ++d, out += width) {
    std::fill(sum.begin(), sum.end(), 0.0f);
    for (std::int64_t t = 0; t < plan.rows.taps; ++t) {
      const float weight = plan.rows.weight[static_cast<std::size_t>(t * plan.height + d)];
      if (weight == 0.0f) continue;
      const std::int64_t y = plan.rows.start[static_cast<std::size_t>(d)] + t;
      if (y != ready) {
        const std::uint8_t* first = screens.first + y * plan.source_width;
        const std::uint8_t* second = screens.second + y * plan.source_width;
        std::transform(first, first + plan.source_width, second, row.begin(), larger);
        shrink(row.data(), plan.columns, line.data());
        ready = y;
      }
      for (std::size_t x = 0; x < sum.size(); ++x) sum[x] += line[x] * weight;
    }
    std::transform(sum.begin(), sum.end(), out, round_half_even);
  }
}

std::uint8_t float_pixel(const Screens& screens, const PreprocessPlan& plan, std::int64_t y, std::int64_t x) {
  const AreaTable& rows = plan.rows;
  const AreaTable& columns = plan.columns;
  std::int64_t corner = rows.start[static_cast<std::size_t>(y)] * plan.source_width +
                        columns.start[static_cast<std::size_t>(x)];
  float sum = 0.0f;
  for (std::int64_t r = 0; r < rows.taps; ++r, corner += plan.source_width) {
    float line = 0.0f;
    for (std::int64_t c = 0; c < columns.taps; ++c) {
      const std::uint8_t pixel = std::max(screens.first[corner + c], screens.second[corner + c]);
      line += static_cast<float>(pixel) * columns.weight[static_cast<std::size_t>(c * plan.width + x)];
    }
    sum += line * rows.weight[static_cast<std::size_t>(r * plan.height + y)];
  }
  return round_half_even(sum);
}

}  // namespace mbpo_fast
