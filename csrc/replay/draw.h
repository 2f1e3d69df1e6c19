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

// The words of one attempt.
struct Attempt {
  std::uint32_t high_word, low_word;
};

// Every member alike.
struct UniformDraw {
  std::int64_t range;

  void propose(const Attempt* attempts, std::int64_t count, std::int64_t* members) const {
    for (std::int64_t i = 0; i < count; ++i) {
      members[i] = integer_from(attempts[i].high_word, attempts[i].low_word, range);
    }
  }
  double weight(std::int64_t) const { return 1.0; }
};

// Row b, attempt a: words (2 * (a % 2), next) of the block at lane b + (a / 2) * batch. A row whose attempts
// all fail picks from the full list of accepted members with the block after them. So each row is drawn as
// `Draw` says among the accepted, and depends on no other row. All first attempts are proposed in one call,
// so that the lookups of many rows overlap.
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
  const auto attempt_of = [&](std::int64_t row, std::uint32_t attempt) {
    const PhiloxWords words = key.words(static_cast<std::uint32_t>(row + attempt / 2 * batch));
    const std::size_t word = 2 * (attempt % 2);
    return Attempt{words[word], words[word + 1]};
  };
  const auto pick = [&](std::int64_t row, std::int64_t proposed) -> std::int64_t {
    for (std::uint32_t attempt = 1;; ++attempt) {
      if (proposed >= 0 && accept(proposed)) return proposed;
      if (attempt == 2 * kDrawBlocks) break;
      const Attempt next = attempt_of(row, attempt);
      draw.propose(&next, 1, &proposed);
    }
    if (accepted.empty()) list_accepted();
    const Attempt last = attempt_of(row, 2 * kDrawBlocks);
    const double mass = unit_from(last.high_word, last.low_word) * reached.back();
    const auto place = std::upper_bound(reached.begin(), reached.end() - 1, mass) - reached.begin();
    return accepted[static_cast<std::size_t>(place)];
  };
  MBPO_CHECK(range > 0, op, "at least one valid transition", "none");
  std::vector<Attempt> first;
  first.reserve(static_cast<std::size_t>(batch));
  for (std::int64_t row = 0; row < batch; ++row) first.push_back(attempt_of(row, 0));
  draw.propose(first.data(), batch, out);
  for (std::int64_t row = 0; row < batch; ++row) out[row] = pick(row, out[row]);
}

}  // namespace mbpo_fast
