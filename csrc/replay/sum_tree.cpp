#include "replay/sum_tree.h"

#include <algorithm>
#include <array>
#include <mutex>

#include "core/check.h"

namespace mbpo_fast {

namespace {

constexpr std::int64_t kMaxLeaves = std::int64_t{1} << 36;
constexpr float kMaxValue = 1e24f;  // so that no sum overflows
// Searches that go down side by side: one waits for memory at every level, many wait together.
constexpr std::int64_t kAtOnce = 16;

}  // namespace

SumTree::SumTree(std::int64_t size) : size_(size) {
  MBPO_CHECK(size >= 1 && size <= kMaxLeaves, "SumTree", text("1 <= size <= ", kMaxLeaves), size);
  std::int64_t nodes = size;
  do {
    nodes = (nodes + kFanOut - 1) / kFanOut;
    levels_.emplace_back(static_cast<std::size_t>(nodes * kFanOut), 0.0f);
  } while (nodes > 1);
}

void SumTree::check_indices(const char* op, const std::int64_t* index, std::int64_t count) const {
  for (std::int64_t i = 0; i < count; ++i) {
    MBPO_CHECK(index[i] >= 0 && index[i] < size_, op, text("indices in [0, ", size_, ")"), index[i]);
  }
}

double SumTree::node_sum(const AlignedFloats& level, std::int64_t node) {
  const float* child = level.data() + node * kFanOut;
  double sum = 0.0;
  for (std::int64_t c = 0; c < kFanOut; ++c) sum += static_cast<double>(child[c]);
  return sum;
}

// A parent is summed anew from its children, so that no error builds up over the updates.
void SumTree::set(const std::int64_t* index, const float* value, std::int64_t count) {
  constexpr const char* op = "SumTree.set";
  const std::vector<std::int64_t> places(index, index + count);
  const std::vector<float> values(value, value + count);
  check_indices(op, places.data(), count);
  for (const float x : values) {
    MBPO_CHECK(x >= 0.0f && x <= kMaxValue, op, text("values in [0, ", kMaxValue, "]"), x);
  }
  const std::unique_lock lock(mutex_);
  for (std::size_t i = 0; i < places.size(); ++i) levels_[0][static_cast<std::size_t>(places[i])] = values[i];
  std::int64_t width = 1;
  for (std::size_t level = 1; level < levels_.size(); ++level) {
    width *= kFanOut;
    std::int64_t done = -1;  // neighbours often share a node
    for (const std::int64_t place : places) {
      const std::int64_t node = place / width;
      if (node == done) continue;
      levels_[level][static_cast<std::size_t>(node)] = static_cast<float>(node_sum(levels_[level - 1], node));
      done = node;
    }
  }
}

void SumTree::get(const std::int64_t* index, std::int64_t count, float* value) const {
  const std::vector<std::int64_t> places(index, index + count);
  check_indices("SumTree.get", places.data(), count);
  const std::shared_lock lock(mutex_);
  for (const std::int64_t place : places) *value++ = levels_[0][static_cast<std::size_t>(place)];
}

double SumTree::total() const {
  const std::shared_lock lock(mutex_);
  return node_sum(levels_.back(), 0);
}

// Where rounding leaves mass over at a node's end, its last child that has any is taken. -1: none has any.
std::int64_t SumTree::child_of(const AlignedFloats& level, std::int64_t node, double* mass) {
  const float* child = level.data() + node * kFanOut;
  std::int64_t chosen = -1;
  for (std::int64_t c = 0; c < kFanOut; ++c) {
    const auto value = static_cast<double>(child[c]);
    if (value <= 0.0) continue;
    chosen = node * kFanOut + c;
    if (*mass < value) break;
    *mass -= value;
  }
  return chosen;
}

void SumTree::find(const double* share, std::int64_t count, std::int64_t* leaf) const {
  const std::shared_lock lock(mutex_);
  const double total = node_sum(levels_.back(), 0);
  std::array<double, static_cast<std::size_t>(kAtOnce)> mass;
  for (std::int64_t first = 0; first < count; first += kAtOnce) {
    const auto several = static_cast<std::size_t>(std::min(kAtOnce, count - first));
    std::int64_t* node = leaf + first;
    for (std::size_t i = 0; i < several; ++i) mass[i] = share[static_cast<std::size_t>(first) + i] * total;
    std::fill_n(node, several, 0);
    for (std::size_t level = levels_.size(); level-- > 0;) {
      for (std::size_t i = 0; i < several; ++i) {
        if (node[i] < 0) continue;
        node[i] = child_of(levels_[level], node[i], &mass[i]);
        if (level > 0 && node[i] >= 0) __builtin_prefetch(levels_[level - 1].data() + node[i] * kFanOut);
      }
    }
  }
}

}  // namespace mbpo_fast
