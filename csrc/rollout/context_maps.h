// What a world model's first layers read, for a batch of contexts: the maps of kFrames and kMeans, compact.
#pragma once

#include <cstdint>

#include "rollout/network.h"

namespace mbpo_fast {

// frames [batch, count, height, width], the oldest first, a context `row` bytes behind the one before it;
// `cell`, at most kMaxMeanCell, divides both sides.
struct Contexts {
  const std::uint8_t* frames;
  std::int64_t batch, count, height, width, row, cell;
};

// Of the `newest` frames the differences of neighbours, then the newest itself, in gray levels: out [batch,
// height / cell, width / cell, newest * cell * cell], channels as in kFrames. Whole numbers of at most 255,
// which bfloat16, the upper half of a float, holds exactly.
void movement_cells(const Contexts& contexts, std::int64_t newest, float* out);
void movement_cells(const Contexts& contexts, std::int64_t newest, std::uint16_t* bfloat16_out);

// Steps between the cells' mean gray levels of neighbouring frames: out [batch, height / cell, width / cell,
// count - 1].
void mean_steps(const Contexts& contexts, float* out);

}  // namespace mbpo_fast
