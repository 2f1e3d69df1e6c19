// Which source pixels make a destination pixel in an area resize, and with what weights.
#pragma once

#include <cstdint>
#include <vector>

namespace mbpo_fast {

// Destination d is the sum over t of source[start[d] + t] * weight[t * size + d]. Every d has `taps` taps:
// shorter ones are filled up with weight 0, which leaves a float sum of non-negative terms as it is.
struct AreaTable {
  std::int64_t size = 0;
  std::int64_t taps = 0;
  std::vector<std::int64_t> start;  // [size], start[d] + taps <= source size
  std::vector<float> weight;        // [taps, size]
  // The same weights as whole numbers over `unit_sum`; 0 where they have no such form.
  std::int64_t unit_sum = 0;
  std::vector<std::int16_t> units;  // [taps, size]
};

AreaTable make_area_table(std::int64_t source_size, std::int64_t size);

}  // namespace mbpo_fast
