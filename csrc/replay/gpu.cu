#include "replay/gpu.h"

#include "core/check.h"
#include "core/gpu_launch.h"

namespace mbpo_fast::gpu {

namespace {

// A block copies a frame, 16 bytes a thread where frames begin at multiples of that.
struct GatherFrame {
  static constexpr int kWarps = 4;
  const std::uint8_t* frames;
  std::int64_t stored, frame_bytes;
  const std::int64_t* index;
  std::uint8_t* out;

  template <class Word>
  MBPO_GPU void copy(const Block& block, std::int64_t from, std::uint8_t* to) const {
    const auto* source = reinterpret_cast<const Word*>(frames + from * frame_bytes);
    for (std::int64_t i = block.thread(); i < frame_bytes / std::int64_t{sizeof(Word)};
         i += block.threads()) {
      reinterpret_cast<Word*>(to)[i] = from >= 0 ? source[i] : Word{};
    }
  }

  MBPO_GPU void operator()(const Block& block, unsigned char*) const {
    const std::int64_t wanted = index[block.index()];
    const std::int64_t from = wanted < stored ? wanted : -1;
    std::uint8_t* to = out + block.index() * frame_bytes;
    const auto places = reinterpret_cast<std::uintptr_t>(frames) | reinterpret_cast<std::uintptr_t>(out) |
                        static_cast<std::uintptr_t>(frame_bytes);
    places % sizeof(Words) == 0 ? copy<Words>(block, from, to) : copy<std::uint8_t>(block, from, to);
  }
};

}  // namespace

void gather_frames(const std::uint8_t* frames, std::int64_t stored, std::int64_t frame_bytes,
                   const std::int64_t* index, std::int64_t count, std::uint8_t* out, std::intptr_t stream) {
  MBPO_CHECK(frame_bytes >= 1 && stored >= 0 && count >= 0 && count < std::int64_t{1} << 31, "gather_frames",
             "frames of at least 1 byte, less than 2**31 of them", text(count, " of ", frame_bytes));
  Launcher{stream}(GatherFrame{frames, stored, frame_bytes, index, out}, count, 0);
}

}  // namespace mbpo_fast::gpu
