// Everything about a resize that depends on its sizes alone.
#pragma once

#include <cstdint>
#include <vector>

#include "preprocess/area_table.h"

namespace mbpo_fast {

// A line's outputs in windows of 16 neighbours, each read by two wide shuffles: output first + i takes taps 0
// and 1 from the words index[i] of the 32 words from `base`, taps 2 and 3 from those of the 32 words from
// `base` + 2.
struct Windows {
  std::vector<std::int32_t> first, base;       // [windows]
  std::vector<std::int16_t> index;             // [windows, 16, 2]: words, relative to the base
  std::vector<std::int16_t> units01, units23;  // [windows, 16, 2]
};

struct PreprocessPlan {
  std::int64_t source_height = 0, source_width = 0;
  std::int64_t height = 0, width = 0;
  AreaTable rows, columns;
  // A frame's pixel is N / divisor, N a whole number; 0: no such form that fits the integer kernels.
  std::int64_t divisor = 0;
  std::vector<std::int16_t> units;  // [width, 4]: of the columns, each output's taps together
  Windows windows;                  // empty where a line does not fall into windows

  bool is_for(std::int64_t from_height, std::int64_t from_width, std::int64_t to_height,
              std::int64_t to_width) const {
    return source_height == from_height && source_width == from_width && height == to_height &&
           width == to_width;
  }
};

PreprocessPlan make_plan(std::int64_t source_height, std::int64_t source_width, std::int64_t height,
                         std::int64_t width);

}  // namespace mbpo_fast
