// Uniform draws among the accepted members of a range, by rejection with counter-based numbers.
#pragma once

#include <cstdint>
#include <vector>

#include "core/check.h"
#include "core/philox.h"

namespace mbpo_fast {

constexpr std::int64_t kMaxBatch = std::int64_t{1} << 20;
constexpr std::uint32_t kDrawBlocks = 128;  // blocks a row may use: two attempts each

// Row b, attempt a: words (2 * (a % 2), next) of the block at lane b + (a / 2) * batch. A row whose attempts
// all fail picks from the full list of accepted members with the block after them. So each row is uniform,
// and depends on no other row.
template <class Accept>
void draw_accepted(const char* op, const DrawKey& key, std::int64_t batch, std::int64_t range, Accept accept,
                   std::int64_t* out) {
  std::vector<std::int64_t> accepted;
  const auto pick = [&](std::int64_t row) -> std::int64_t {
    const auto lane = [&](std::uint32_t block) { return static_cast<std::uint32_t>(row + block * batch); };
    for (std::uint32_t block = 0; block < kDrawBlocks; ++block) {
      const PhiloxWords words = key.words(lane(block));
      for (const std::size_t word : {std::size_t{0}, std::size_t{2}}) {
        const std::int64_t member = integer_from(words[word], words[word + 1], range);
        if (accept(member)) return member;
      }
    }
    if (accepted.empty()) {
      for (std::int64_t member = 0; member < range; ++member) {
        if (accept(member)) accepted.push_back(member);
      }
      MBPO_CHECK(!accepted.empty(), op, "at least one valid transition", "none");
    }
    const PhiloxWords words = key.words(lane(kDrawBlocks));
    const auto count = static_cast<std::int64_t>(accepted.size());
    return accepted[static_cast<std::size_t>(integer_from(words[0], words[1], count))];
  };
  MBPO_CHECK(range > 0, op, "at least one valid transition", "none");
  for (std::int64_t row = 0; row < batch; ++row) out[row] = pick(row);
}

}  // namespace mbpo_fast
