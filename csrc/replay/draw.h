// Draws among the accepted members of a range, by rejection with counter-based numbers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/check.h"
#include "core/philox.h"

namespace mbpo_fast {

constexpr std::int64_t kMaxBatch = std::int64_t{1} << 20;
constexpr std::uint32_t kDrawBlocks = 128;  // blocks a row may use: two attempts each

// Every member alike.
struct UniformDraw {
  std::int64_t range;

  std::int64_t propose(std::uint32_t high_word, std::uint32_t low_word) const {
    return integer_from(high_word, low_word, range);
  }
  double weight(std::int64_t) const { return 1.0; }
};

// Row b, attempt a: words (2 * (a % 2), next) of the block at lane b + (a / 2) * batch. A row whose attempts
// all fail picks from the full list of accepted members with the block after them. So each row is drawn as
// `Draw` says among the accepted, and depends on no other row.
template <class Draw, class Accept>
void draw_accepted(const char* op, const DrawKey& key, std::int64_t batch, std::int64_t range,
                   const Draw& draw, Accept accept, std::int64_t* out) {
  std::vector<std::int64_t> accepted;
  std::vector<double> reached;  // the mass up to and with each of them
  const auto list_accepted = [&] {
    double mass = 0.0;
    for (std::int64_t member = 0; member < range; ++member) {
      const double weight = accept(member) ? draw.weight(member) : 0.0;
      if (weight <= 0.0) continue;
      accepted.push_back(member);
      reached.push_back(mass += weight);
    }
    MBPO_CHECK(!accepted.empty(), op, "at least one valid transition", "none");
  };
  const auto pick = [&](std::int64_t row) -> std::int64_t {
    const auto lane = [&](std::uint32_t block) { return static_cast<std::uint32_t>(row + block * batch); };
    for (std::uint32_t block = 0; block < kDrawBlocks; ++block) {
      const PhiloxWords words = key.words(lane(block));
      for (const std::size_t word : {std::size_t{0}, std::size_t{2}}) {
        const std::int64_t member = draw.propose(words[word], words[word + 1]);
        if (member >= 0 && accept(member)) return member;
      }
    }
    if (accepted.empty()) list_accepted();
    const PhiloxWords words = key.words(lane(kDrawBlocks));
    const double mass = unit_from(words[0], words[1]) * reached.back();
    const auto place = std::upper_bound(reached.begin(), reached.end() - 1, mass) - reached.begin();
    return accepted[static_cast<std::size_t>(place)];
  };
  MBPO_CHECK(range > 0, op, "at least one valid transition", "none");
  for (std::int64_t row = 0; row < batch; ++row) out[row] = pick(row);
}

}  // namespace mbpo_fast
