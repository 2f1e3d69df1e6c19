// Weights in the order in which the lanes of a warp read them.
#pragma once

#include <cstring>
#include <span>
#include <vector>

#include "core/gpu.h"
#include "rollout/gpu/product.h"

namespace mbpo_fast::gpu {

// One member's numbers, or the pattern of all: every member packs the same layers in the same order.
class WeightWriter {
 public:
  std::vector<unsigned char> take() { return std::move(bytes_); }
  std::int64_t size() const { return static_cast<std::int64_t>(bytes_.size()); }

  // `rows` times `count` numbers, each row filled up with zeros to `padded`; where they lie.
  std::int64_t floats(const float* numbers, std::int64_t rows, std::int64_t count, std::int64_t padded) {
    std::vector<float> filled(static_cast<std::size_t>(rows * padded));
    for (std::int64_t r = 0; r < rows; ++r) {
      std::copy_n(numbers + r * count, count, filled.data() + r * padded);
    }
    return append(filled.data(), filled.size() * sizeof(float));
  }

  // A film's tables, scales [A, channels] then shifts [A, channels]: as [A, 2, padded], with 1 + scale.
  std::int64_t film(const float* tables, std::int64_t actions, std::int64_t channels) {
    const std::int64_t padded = padded_channels(static_cast<int>(channels));
    std::vector<float> own(static_cast<std::size_t>(actions * 2 * padded));
    for (std::int64_t a = 0; a < actions; ++a) {
      float* to = own.data() + a * 2 * padded;
      for (std::int64_t c = 0; c < channels; ++c) {
        to[c] = 1.0f + tables[a * channels + c];
        to[padded + c] = tables[(actions + a) * channels + c];
      }
    }
    return append(own.data(), own.size() * sizeof(float));
  }

  // weight(channel, chunk, k): B of each group of channels, step in depth and plane (product.h).
  template <class Weight>
  std::int64_t matrix(std::int64_t channels, std::int64_t chunks, int planes, Weight weight) {
    std::vector<std::uint32_t> words;
    for (std::int64_t first = 0; first < channels; first += kChannelGroup) {
      for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
        for (int plane = 0; plane < planes; ++plane) {
          const auto half = [&](std::int64_t channel, int k) -> std::uint32_t {
            return channel < channels ? half_of_plane(weight(channel, chunk, k), plane) : Half{0};
          };
          append_step(words, first, half);
        }
      }
    }
    return append(words.data(), words.size() * sizeof(std::uint32_t));
  }

 private:
  static Half half_of_plane(float value, int plane) {
    for (; plane > 0; --plane) value -= float_from(half_from(value));
    return half_from(value);
  }

  template <class HalfAt>
  static void append_step(std::vector<std::uint32_t>& words, std::int64_t first, HalfAt half) {
    for (int pair_of_tiles = 0; pair_of_tiles < kChannelTiles / 2; ++pair_of_tiles) {
      for (int lane = 0; lane < kLanes; ++lane) {
        for (int i = 0; i < 4; ++i) {
          const int tile = 2 * pair_of_tiles + i / 2, k = 2 * (lane % 4) + 8 * (i % 2);
          const std::int64_t channel = first + tile * kChannelTile + lane / 4;
          words.push_back(half(channel, k) | half(channel, k + 1) << 16);
        }
      }
    }
  }

  std::int64_t append(const void* from, std::size_t count) {
    const std::size_t at = (bytes_.size() + 15) / 16 * 16, end = (at + count + 15) / 16 * 16;
    bytes_.resize(end);
    std::memcpy(bytes_.data() + at, from, count);
    return static_cast<std::int64_t>(at);
  }

  std::vector<unsigned char> bytes_;
};

}  // namespace mbpo_fast::gpu
