// Frames from a buffer in device memory.
#pragma once

#include <cstdint>

namespace mbpo_fast::gpu {

// out[i] = frames[index[i]] for `count` frames of `frame_bytes` bytes, zeros where index[i] is negative: the
// padding before an episode's first frame. frames [stored, ...]; all pointers are device memory, what is not
// below `stored` comes out as zeros too.
void gather_frames(const std::uint8_t* frames, std::int64_t stored, std::int64_t frame_bytes,
                   const std::int64_t* index, std::int64_t count, std::uint8_t* out, std::intptr_t stream);

}  // namespace mbpo_fast::gpu
