// Priorities of a ring's places, drawn in proportion: a sum tree of fan-out 16, one cache line a node.
#pragma once

#include <cstdint>
#include <shared_mutex>
#include <vector>

#include "core/aligned.h"

namespace mbpo_fast {

// Safe to share between threads: readers run side by side, writers alone.
class SumTree {
 public:
  explicit SumTree(std::int64_t size);

  // Sets value[i] at index[i], the last one where an index comes twice. Nothing is changed when it throws.
  void set(const std::int64_t* index, const float* value, std::int64_t count);
  void get(const std::int64_t* index, std::int64_t count, float* value) const;
  // For each share in [0, 1) the leaf in which that share of the total mass is reached; never one of value 0.
  // -1: no mass.
  void find(const double* share, std::int64_t count, std::int64_t* leaf) const;
  double total() const;
  std::int64_t size() const { return size_; }

 private:
  static constexpr std::int64_t kFanOut = 16;

  void check_indices(const char* op, const std::int64_t* index, std::int64_t count) const;
  static double node_sum(const AlignedFloats& level, std::int64_t node);
  static std::int64_t child_of(const AlignedFloats& level, std::int64_t node, double* mass);

  std::int64_t size_;
  std::vector<AlignedFloats> levels_;  // leaves first; each padded to whole nodes; the last is one node
  mutable std::shared_mutex mutex_;
};

}  // namespace mbpo_fast
