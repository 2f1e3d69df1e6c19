// The rows of a step and where their frames lie.
#pragma once

#include <cstdint>

#include "core/gpu.h"

namespace mbpo_fast::gpu {

// Frame j of a branch is frame j of its start, or the (j - context)-th generated one.
struct FrameSource {
  const std::uint8_t* start;               // [B, context, h, w]
  std::uint8_t* generated;                 // [branches, ring_frames, h, w]: the model buffer's frames
  std::int64_t context;                    // frames of a start
  std::int64_t ring_frames, ring_context;  // of a branch in the buffer; how many of them are real
  std::int64_t capacity, first;            // branches; where branch 0 lies
  std::int64_t height, width;
  std::int64_t step;             // steps taken so far
  std::uint8_t* said = nullptr;  // [B, h, w]: where a step's frames go instead of the buffer

  MBPO_BOTH std::int64_t bytes() const { return height * width; }
  MBPO_BOTH std::int64_t place(std::int64_t branch) const { return (first + branch) % capacity; }
  MBPO_BOTH std::uint8_t* in_buffer(std::int64_t branch, std::int64_t frame) const {
    return generated + (place(branch) * ring_frames + frame) * bytes();
  }
  // Of the frame that the step under way makes.
  MBPO_BOTH std::uint8_t* destination(std::int64_t branch) const {
    return said ? said + branch * bytes() : in_buffer(branch, ring_context + step);
  }
  MBPO_BOTH const std::uint8_t* at(std::int64_t branch, std::int64_t frame) const {
    return frame < context ? start + (branch * context + frame) * bytes()
                           : in_buffer(branch, ring_context + frame - context);
  }
  // Frame i of the newest `count`.
  MBPO_BOTH const std::uint8_t* newest(std::int64_t branch, std::int64_t count, std::int64_t i) const {
    return at(branch, step + context - count + i);
  }
};

// Rows stand in lanes 0 to `count`; a member's rows take neighbouring positions. Null arrays: the position
// itself as the lane, the lane itself as the branch, the member `sole`, action 0.
struct Rows {
  const std::int32_t* count;
  const std::int32_t *order, *branch, *member, *action;
  std::int32_t sole = 0;

  MBPO_BOTH std::int32_t lane(int position) const { return order ? order[position] : position; }
  MBPO_BOTH std::int32_t branch_of(int lane) const { return branch ? branch[lane] : lane; }
  MBPO_BOTH std::int32_t member_of(int lane) const { return member ? member[lane] : sole; }
  MBPO_BOTH std::int32_t action_of(int lane) const { return action ? action[lane] : 0; }
};

// A network's numbers in device memory.
struct Weights {
  const unsigned char* first;
  std::int64_t member_bytes;
  MBPO_BOTH const unsigned char* of(int member) const { return first + member * member_bytes; }
};

// What a network leaves for its later kernels, by position, and for its reader, by lane.
struct Values {
  Half* kept;
  std::int64_t kept_of_row;
  float* outputs;
  std::int64_t outputs_of_row;
};

}  // namespace mbpo_fast::gpu
