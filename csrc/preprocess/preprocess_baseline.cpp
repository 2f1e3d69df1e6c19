#include <algorithm>

#include "preprocess/preprocess.h"

namespace mbpo_fast {

namespace {

void max_row(const std::uint8_t* first, const std::uint8_t* second, std::int64_t width, float* row) {
  for (std::int64_t x = 0; x < width; ++x) row[x] = static_cast<float>(std::max(first[x], second[x]));
}

// kTaps 0 stands for any number of taps; a known number lets the compiler unroll the sum.
template <std::int64_t kTaps>
void shrink_row(const float* row, const AreaTable& columns, float* line) {
  const std::int64_t taps = kTaps ? kTaps : columns.taps, size = columns.size;
  const std::int64_t* start = columns.start.data();
  const float* weight = columns.weight.data();
  for (std::int64_t d = 0; d < size; ++d) {
    const float* source = row + start[d];
    float total = 0.0f;
    for (std::int64_t t = 0; t < taps; ++t) total += source[t] * weight[t * size + d];
    line[d] = total;
  }
}

using ShrinkRow = void (*)(const float*, const AreaTable&, float*);

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
void round_row(const float* sum, std::int64_t width, std::uint8_t* line) {
  constexpr float kRounder = 0x1.8p23f;
  for (std::int64_t x = 0; x < width; ++x) {
    line[x] = static_cast<std::uint8_t>(
        static_cast<std::int32_t>(std::min((sum[x] + kRounder) - kRounder, 255.0f)));
  }
}

}  // namespace

// The order of the float32 additions is OpenCV's (columns of a row first, then rows downwards): it decides
// ties.
void preprocess_baseline(const std::uint8_t* screens, const PreprocessShape& shape, const AreaTable& rows,
                         const AreaTable& columns, const PreprocessScratch& scratch, std::uint8_t* out) {
  const std::uint8_t* second = screens + shape.source_height * shape.source_width;
  const ShrinkRow shrink = shrink_row_for(columns.taps);
  std::int64_t ready = -1;  // the source row that scratch.line holds: neighbouring cells share one
  for (std::int64_t d = 0; d < shape.height; ++d) {
    std::fill_n(scratch.sum, shape.width, 0.0f);
    for (std::int64_t t = 0; t < rows.taps; ++t) {
      const float weight = rows.weight[static_cast<std::size_t>(t * rows.size + d)];
      if (weight == 0.0f) continue;
      const std::int64_t y = rows.start[static_cast<std::size_t>(d)] + t;
      if (y != ready) {
        max_row(screens + y * shape.source_width, second + y * shape.source_width, shape.source_width,
                scratch.row);
        shrink(scratch.row, columns, scratch.line);
        ready = y;
      }
      for (std::int64_t x = 0; x < shape.width; ++x) scratch.sum[x] += scratch.line[x] * weight;
    }
    round_row(scratch.sum, shape.width, out + d * shape.width);
  }
}

}  // namespace mbpo_fast
