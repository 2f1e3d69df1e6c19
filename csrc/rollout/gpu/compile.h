// Makes a program for a GPU from a layer list.
#pragma once

#include <span>
#include <vector>

#include "rollout/gpu/program.h"
#include "rollout/network.h"

namespace mbpo_fast::gpu {

// A kernel launch: `count` operations on every row, or a large linear layer.
struct Stage {
  bool is_linear;
  std::int32_t first, count;
  std::int32_t shared_bytes;
  BatchedLinear linear;
};

// What becomes of a network's first output.
enum class Purpose { kValues, kFrames };

struct Program {
  std::vector<Op> ops;
  std::vector<Stage> stages;
  std::vector<unsigned char> weights;  // [members, member_bytes]
  std::int64_t member_bytes = 0;
  std::int64_t kept_of_row = 0, outputs_of_row = 0;  // bfloat16, float32
  std::int64_t arena_bytes = 0;  // of a block, where a row's maps do not fit into shared memory; else 0
};

// `numbers`: the weights [members, ...] that `network` was made of. With Purpose::kFrames the first output is
// a map of changes (world.h), which goes straight into the next frame and is no output. Where a row's maps do
// not fit into `shared_limit` bytes, they lie in device memory. Throws std::invalid_argument where they are
// larger than 64 MiB.
Program compile(const Network& network, std::span<const float> numbers, Purpose purpose,
                std::int64_t shared_limit);

}  // namespace mbpo_fast::gpu
