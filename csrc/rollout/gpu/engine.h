// The fused rollout on a GPU: the same contract and the same draws as rollout.h. Compiled twice, by nvcc
// (engine.cu) and as an emulation for tests (engine_emulated.cpp).
//
// All pointers are device memory; `stream` is the caller's, and in the emulation the number of warps. Nothing
// is allocated here: the caller asks for the size of the workspace.
#pragma once

#include <cstdint>
#include <memory>

#include "rollout/gpu/compile.h"
#include "rollout/rollout.h"

namespace mbpo_fast::gpu {

// Bytes of shared memory that a block of the current device may have.
std::int64_t shared_memory_limit();

// A network's program; its operations and weights as bytes, which the caller copies to the device.
class GpuNetwork {
 public:
  GpuNetwork(std::shared_ptr<const Network> network, std::span<const float> numbers, Purpose purpose,
             std::int64_t shared_limit);

  const Network& network() const { return *network_; }
  const Program& program() const { return program_; }
  Purpose purpose() const { return purpose_; }
  const std::vector<unsigned char>& bytes() const { return bytes_; }
  std::int64_t weights_offset() const { return weights_offset_; }
  std::int64_t shared_bytes() const;
  std::int64_t shared_limit() const { return shared_limit_; }
  // For `rows` rows of the network alone.
  std::int64_t workspace_bytes(std::int64_t rows) const;

 private:
  std::shared_ptr<const Network> network_;
  Purpose purpose_;
  std::int64_t shared_limit_;
  Program program_;
  std::vector<unsigned char> bytes_;
  std::int64_t weights_offset_ = 0;
};

struct LoadedNetwork {
  const GpuNetwork& network;
  const unsigned char* bytes;  // on the device
};

struct Workspace {
  unsigned char* memory;
  std::int64_t bytes;
};

// All outputs of `network` for rows of context [B, C, h, w]: as evaluate() in runner.h.
void evaluate(const LoadedNetwork& loaded, const Workspace& workspace, const std::uint8_t* context,
              const std::int32_t* action, const std::int32_t* member, std::int64_t rows, float* out,
              std::intptr_t stream);

// The model buffer's memory on the device: [capacity, context + horizon, h, w], [capacity, horizon],
// [capacity].
struct DeviceBranches {
  std::int64_t capacity, context, horizon, height, width;
  std::uint8_t* frame;
  std::int64_t* action;
  float* reward;
  std::uint8_t* terminated;
  std::int16_t* member;
  std::int32_t* length;
  float* doubt;  // [capacity, horizon]: the elites' disagreement about every imagined step; -1 elsewhere
};

// `asked`: elites that all rows are asked about; 0 where a row is its member's alone.
std::int64_t rollout_workspace_bytes(const GpuNetwork& policy, const GpuNetwork& world, std::int64_t count,
                                     std::int64_t asked);

// Rolls `count` branches from start [count, C, h, w] into the places first, first + 1, ... of the buffer,
// modulo its capacity. Always launches all steps; those of a branch after its end do nothing.
void rollout(const LoadedNetwork& policy, const LoadedNetwork& world, const Workspace& workspace,
             const RolloutSpec& spec, const std::uint8_t* start, std::int64_t count,
             const DeviceBranches& branches, std::int64_t first, std::intptr_t stream);

}  // namespace mbpo_fast::gpu
