#include "preprocess/area_table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace mbpo_fast {

namespace {

struct Cell {
  std::int64_t first = 0;
  std::vector<float> weights;
};

// The tap rule of OpenCV's INTER_AREA: float64 arithmetic, weights rounded to float32, slivers of <= 1e-3
// dropped.
Cell make_cell(std::int64_t d, double scale, std::int64_t source_size) {
  const double begin = static_cast<double>(d) * scale;
  const double end = begin + scale;
  const double width = std::min(scale, static_cast<double>(source_size) - begin);
  const std::int64_t last = std::min(static_cast<std::int64_t>(std::floor(end)), source_size - 1);
  const std::int64_t whole = std::min(static_cast<std::int64_t>(std::ceil(begin)), last);
  const double head = static_cast<double>(whole) - begin;
  const double tail = end - static_cast<double>(last);
  Cell cell{whole, {}};
  if (head > 1e-3) {
    cell.first = whole - 1;
    cell.weights.push_back(static_cast<float>(head / width));
  }
  for (std::int64_t s = whole; s < last; ++s) cell.weights.push_back(static_cast<float>(1.0 / width));
  if (tail > 1e-3) cell.weights.push_back(static_cast<float>(std::min({tail, 1.0, width}) / width));
  return cell;
}

// In units in which a source pixel has `pixel` and a cell `cell`, all overlaps are whole numbers.
void add_units(AreaTable& table, std::int64_t source_size) {
  const std::int64_t divisor = std::gcd(source_size, table.size);
  const std::int64_t pixel = table.size / divisor, cell = source_size / divisor;
  if (cell > std::numeric_limits<std::int16_t>::max()) return;
  for (std::int64_t t = 0; t < table.taps; ++t) {
    for (std::int64_t d = 0; d < table.size; ++d) {
      const std::int64_t s = table.start[static_cast<std::size_t>(d)] + t;
      const std::int64_t overlap = std::min((d + 1) * cell, (s + 1) * pixel) - std::max(d * cell, s * pixel);
      const bool weighs = table.weight[static_cast<std::size_t>(t * table.size + d)] > 0.0f;
      if (weighs != (overlap > 0)) return;  // a dropped sliver
      table.units.push_back(static_cast<std::int16_t>(std::max<std::int64_t>(overlap, 0)));
    }
  }
  table.unit_sum = cell;
}

}  // namespace

AreaTable make_area_table(std::int64_t source_size, std::int64_t size) {
  const double scale = 1.0 / (static_cast<double>(size) / static_cast<double>(source_size));
  std::vector<Cell> cells;
  AreaTable table{size, 0, {}, {}, 0, {}};
  for (std::int64_t d = 0; d < size; ++d) {
    cells.push_back(make_cell(d, scale, source_size));
    table.taps = std::max(table.taps, static_cast<std::int64_t>(cells.back().weights.size()));
  }
  table.weight.assign(static_cast<std::size_t>(table.taps * size), 0.0f);
  for (std::int64_t d = 0; d < size; ++d) {
    const Cell& cell = cells[static_cast<std::size_t>(d)];
    // Near the end the window moves left, so that it never reads past the source.
    const std::int64_t start = std::min(cell.first, source_size - table.taps);
    table.start.push_back(start);
    for (std::size_t t = 0; t < cell.weights.size(); ++t) {
      const std::int64_t tap = cell.first - start + static_cast<std::int64_t>(t);
      table.weight[static_cast<std::size_t>(tap * size + d)] = cell.weights[t];
    }
  }
  add_units(table, source_size);
  return table;
}

}  // namespace mbpo_fast
