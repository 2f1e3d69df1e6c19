// Stacks of frames moved by whole pixels, edges repeated: image augmentation.
#pragma once

#include <cstdint>

namespace mbpo_fast {

struct Stacks {
  const std::uint8_t* frames;  // [batch, stack, height, width]
  std::int64_t batch, stack, height, width;
};

// Each stack moved down and to the right by its own number of pixels (negative: up and left), as far as its
// side at most, into out [batch, stack, height, width], apart from the frames.
void shift_frames(const Stacks& in, const std::int64_t* down, const std::int64_t* right, std::uint8_t* out);

}  // namespace mbpo_fast
