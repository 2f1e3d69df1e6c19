// A rollout's memory on the device: pieces of the caller's workspace.
#pragma once

#include <algorithm>

#include "core/check.h"
#include "rollout/gpu/engine.h"
#include "rollout/gpu/state.h"

namespace mbpo_fast::gpu {

// Blocks that run at a time where maps lie in device memory: some for each multiprocessor of a large GPU.
inline std::int64_t arena_blocks(std::int64_t rows) {
  return std::min<std::int64_t>(rows, 256);
}

// Hands out a workspace, or only counts it where there is none.
class Pieces {
 public:
  explicit Pieces(unsigned char* memory) : memory_(memory) {}

  template <class T>
  T* take(std::int64_t count) {
    T* piece = memory_ ? reinterpret_cast<T*>(memory_ + bytes_) : nullptr;
    bytes_ += ceil_div(count * static_cast<std::int64_t>(sizeof(T)), 16) * 16;
    return piece;
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  unsigned char* memory_;
  std::int64_t bytes_ = 0;
};

inline StepState take_state(Pieces& pieces, std::int64_t rows, std::int64_t members) {
  const std::int64_t tiles = rows / kRowTile + members;
  StepState state{};
  state.alive = pieces.take<std::uint8_t>(rows);
  for (std::int32_t** lanes : {&state.branch, &state.member, &state.action, &state.order, &state.drawn}) {
    *lanes = pieces.take<std::int32_t>(rows);
  }
  for (std::int32_t** of_tile : {&state.tile_first, &state.tile_rows, &state.tile_member}) {
    *of_tile = pieces.take<std::int32_t>(tiles);
  }
  state.lanes = pieces.take<std::int32_t>(1), state.tiles = pieces.take<std::int32_t>(1);
  return state;
}

// A rollout's share of the workspace. The policy's kept values make room for the world model's.
struct Memory {
  StepState state;
  float *values, *logits;
  Half* kept;
  unsigned char* arena;
  Opinions opinions;
  Agreement agreement;
};

inline Memory take_memory(Pieces& pieces, const GpuNetwork& policy_network, const GpuNetwork& world_network,
                          std::int64_t rows, std::int64_t asked) {
  const Program &policy = policy_network.program(), &world = world_network.program();
  const NetworkInput& in = world_network.network().input();
  Memory memory{};
  memory.state = take_state(pieces, rows, world_network.network().members());
  memory.values = pieces.take<float>(rows * policy.outputs_of_row);
  memory.logits = pieces.take<float>(std::max<std::int64_t>(asked, 1) * rows * world.outputs_of_row);
  memory.kept = pieces.take<Half>(rows * std::max(policy.kept_of_row, world.kept_of_row));
  const std::int64_t arena = std::max(policy.arena_bytes, world.arena_bytes);
  memory.arena = pieces.take<unsigned char>(arena_blocks(rows) * arena);
  if (asked == 0) return memory;
  memory.opinions = {pieces.take<std::uint8_t>(asked * rows * in.height * in.width), memory.logits,
                     static_cast<std::int32_t>(asked), rows};
  memory.agreement = {pieces.take<Outcome>(rows), pieces.take<float>(rows)};
  return memory;
}

inline std::int64_t elites_asked(const RolloutSpec& spec) {
  return spec.mean || spec.uncertainty.measured ? static_cast<std::int64_t>(spec.elites.size()) : 0;
}

inline void check_workspace(const Workspace& workspace, std::int64_t needed) {
  MBPO_CHECK(workspace.bytes >= needed, "rollout", text("a workspace of ", needed, " bytes"),
             workspace.bytes);
}

}  // namespace mbpo_fast::gpu
