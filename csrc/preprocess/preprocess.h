// Emulator screens to network frames: maximum of the last two gray screens, then an area resize.
#pragma once

#include <cstdint>

namespace mbpo_fast {

struct PreprocessShape {
  std::int64_t count, screens;
  std::int64_t source_height, source_width;
  std::int64_t height, width;
};

// frames [count, screens, source_height, source_width] with 1 or 2 screens, out [count, height, width]; both
// owned by the caller. The frames are shared out to at most `threads` threads. Throws std::invalid_argument
// where a size is zero or larger than its source.
void preprocess_frames(const std::uint8_t* frames, const PreprocessShape& shape, std::int64_t threads,
                       std::uint8_t* out);

// out[i] = table[screen[i]], tables of 256 bytes; the larger of that and over[i] where `over` is not null,
// which may be `out`. Returns the largest byte that was looked up, 0 for no pixels.
std::uint8_t look_up_gray(const std::uint8_t* screen, const std::uint8_t* table, const std::uint8_t* over,
                          std::int64_t count, std::uint8_t* out);

}  // namespace mbpo_fast
