// The operations of one kernel, and where their maps lie in a block's memory.
#pragma once

#include <vector>

#include "rollout/gpu/compile.h"

namespace mbpo_fast::gpu {

inline constexpr std::size_t kAbsent = static_cast<std::size_t>(-1);

// An operation whose maps have numbers and no places yet.
struct Draft {
  Op op;
  std::size_t in = kAbsent, other = kAbsent, condition = kAbsent, out = kAbsent;
};

std::int64_t bytes_of(const Map& map);
Map make_map(const Shape& shape, std::int64_t border, bool is_float);

// What is between two large linear layers.
class Segment {
 public:
  std::size_t new_map(const Shape& shape, std::int64_t border, bool is_float);
  void add(const Draft& draft);
  // Places the maps, moves the operations to the program as a stage, and begins anew. Throws
  // std::invalid_argument where the maps are too large.
  void close(Program& program, std::int64_t shared_limit);

 private:
  struct MapUse {
    Map map;
    std::size_t first, last;  // operations
  };
  std::int64_t place_maps(std::int64_t shared_limit);

  std::vector<MapUse> maps_;
  std::vector<Draft> drafts_;
};

}  // namespace mbpo_fast::gpu
