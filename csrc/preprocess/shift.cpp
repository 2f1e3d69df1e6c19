#include "preprocess/shift.h"

#include <algorithm>
#include <cstring>

namespace mbpo_fast {

namespace {

// A line moved by `right`, its edge repeated; |right| < width.
void shift_line(const std::uint8_t* from, std::int64_t width, std::int64_t right, std::uint8_t* to) {
  const std::int64_t gap = right < 0 ? -right : right;
  const auto kept = static_cast<std::size_t>(width - gap);
  if (right >= 0) {
    std::memset(to, from[0], static_cast<std::size_t>(gap));
    std::memcpy(to + gap, from, kept);
  } else {
    std::memcpy(to, from + gap, kept);
    std::memset(to + kept, from[width - 1], static_cast<std::size_t>(gap));
  }
}

}  // namespace

void shift_frames(const Stacks& in, const std::int64_t* down, const std::int64_t* right, std::uint8_t* out) {
  const std::int64_t frame = in.height * in.width;
  for (std::int64_t b = 0; b < in.batch; ++b) {
    // Another thread may write to these while they are read.
    const std::int64_t asked_down = down[b], asked_right = right[b];
    const std::int64_t below = std::clamp(asked_down, 1 - in.height, in.height - 1);
    const std::int64_t beside = std::clamp(asked_right, 1 - in.width, in.width - 1);
    for (std::int64_t f = 0; f < in.stack; ++f) {
      const std::uint8_t* from = in.frames + (b * in.stack + f) * frame;
      for (std::int64_t y = 0; y < in.height; ++y, out += in.width) {
        const std::int64_t line = std::clamp(y - below, std::int64_t{0}, in.height - 1);
        shift_line(from + line * in.width, in.width, beside, out);
      }
    }
  }
}

}  // namespace mbpo_fast
