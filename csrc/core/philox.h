// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// 2011). A number is a pure function of (seed, stream, step, lane), so every backend and thread draws the
// same one.
#pragma once

#include <array>
#include <cstdint>

namespace mbpo_fast {

using PhiloxWords = std::array<std::uint32_t, 4>;

constexpr PhiloxWords philox4x32_10(PhiloxWords counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter[2];
    const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
    const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
    counter = {high(b) ^ counter[1] ^ key[0], low(b), high(a) ^ counter[3] ^ key[1], low(a)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

// What a draw is keyed by, but for the lane.
struct DrawKey {
  std::uint64_t seed;
  std::uint32_t stream;
  std::uint64_t step;

  constexpr PhiloxWords words(std::uint32_t lane) const {
    const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
    return philox4x32_10({lane, low(step), low(step >> 32), stream}, {low(seed), low(seed >> 32)});
  }
};

constexpr float uniform_from(std::uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}

// A double in [0, 1) with 53 random bits.
constexpr double unit_from(std::uint32_t high_word, std::uint32_t low_word) {
  const std::uint64_t number = (std::uint64_t{high_word} << 32) | low_word;
  return static_cast<double>(number >> 11) * 0x1p-53;
}

// High half of the 128-bit product of a 64-bit random number and `range`: an integer in [0, range).
constexpr std::int64_t integer_from(std::uint32_t high_word, std::uint32_t low_word, std::int64_t range) {
  const std::uint64_t number = (std::uint64_t{high_word} << 32) | low_word;
  const auto limit = static_cast<std::uint64_t>(range);
  const std::uint64_t bottom = (number & 0xFFFFFFFFu) * (limit & 0xFFFFFFFFu);
  const std::uint64_t cross = (number >> 32) * (limit & 0xFFFFFFFFu) + (bottom >> 32);
  const std::uint64_t middle = (number & 0xFFFFFFFFu) * (limit >> 32) + (cross & 0xFFFFFFFFu);
  return static_cast<std::int64_t>((number >> 32) * (limit >> 32) + (cross >> 32) + (middle >> 32));
}

}  // namespace mbpo_fast
