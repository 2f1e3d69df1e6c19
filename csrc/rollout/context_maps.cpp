#include "rollout/context_maps.h"

#include <cstring>
#include <vector>

#include "core/check.h"
#include "rollout/kernels.h"

namespace mbpo_fast {

namespace {

void check(const char* op, const Contexts& in, std::int64_t newest) {
  MBPO_CHECK(in.cell >= 1 && in.cell <= kMaxMeanCell, op, text("1 <= cell <= ", kMaxMeanCell), in.cell);
  MBPO_CHECK(in.height % in.cell == 0 && in.width % in.cell == 0, op, "a cell that divides the frame's sides",
             text(in.cell, " for ", in.height, "x", in.width));
  MBPO_CHECK(newest >= 1 && newest <= in.count, op, text("1 <= newest <= ", in.count), newest);
}

std::size_t floats(std::int64_t count) {
  return static_cast<std::size_t>(count);
}

// `lines` lines of cells from the `first` of the b-th context.
void cells(const Contexts& in, std::int64_t newest, std::int64_t b, std::int64_t first, std::int64_t lines,
           float* out) {
  const std::int64_t frame = in.height * in.width, step = newest * in.cell * in.cell;
  const std::uint8_t* oldest = in.frames + b * in.row + (in.count - newest) * frame;
  rollout_kernels(isa_in_use())
      .cells({oldest + first * in.cell * in.width, newest, frame, lines * in.cell, in.width, in.cell, 1.0f,
              1.0f, true, out, in.width / in.cell * step, step});
}

}  // namespace

void movement_cells(const Contexts& in, std::int64_t newest, float* out) {
  check("movement_cells", in, newest);
  const std::int64_t lines = in.height / in.cell;
  for (std::int64_t b = 0; b < in.batch; ++b, out += newest * in.height * in.width) {
    cells(in, newest, b, 0, lines, out);
  }
}

void movement_cells(const Contexts& in, std::int64_t newest, std::uint16_t* out) {
  check("movement_cells", in, newest);
  // Line by line: the floats between stay in the nearest cache.
  std::vector<float> line(floats(newest * in.cell * in.width));
  for (std::int64_t b = 0; b < in.batch; ++b) {
    for (std::int64_t y = 0; y < in.height / in.cell; ++y) {
      cells(in, newest, b, y, 1, line.data());
      for (const float value : line) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, &value, sizeof bits);
        *out++ = static_cast<std::uint16_t>(bits >> 16);
      }
    }
  }
}

void mean_steps(const Contexts& in, float* out) {
  check("mean_steps", in, 1);
  MBPO_CHECK(in.count >= 2, "mean_steps", "2 frames or more", in.count);
  const std::int64_t rows = in.height / in.cell, columns = in.width / in.cell, steps = in.count - 1;
  std::vector<std::int32_t> sums(floats(2 * rows * columns));
  std::vector<float> planes(floats(rows * columns * steps));
  for (std::int64_t b = 0; b < in.batch; ++b, out += rows * columns * steps) {
    rollout_kernels(isa_in_use())
        .means({in.frames + b * in.row, in.count, in.height, in.width, in.cell, true, out, columns * steps,
                steps, sums.data(), planes.data()});
  }
}

}  // namespace mbpo_fast
