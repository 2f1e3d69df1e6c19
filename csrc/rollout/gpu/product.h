// A warp's part of a matrix product: up to 64 pixels of a map in shared memory by 32 output channels.
#pragma once

#include "core/gpu.h"
#include "rollout/gpu/program.h"

namespace mbpo_fast::gpu {

struct Products {
  PerLane<ProductC> at[kPixelTiles][kChannelTiles];
};

MBPO_GPU void clear(Products& products) {
  MBPO_UNROLL
  for (int m = 0; m < kPixelTiles; ++m) {
    MBPO_UNROLL
    for (int n = 0; n < kChannelTiles; ++n) {
      each_lane([&](int, int slot) {
        MBPO_UNROLL
        for (int i = 0; i < 4; ++i) products.at[m][n][slot].value[i] = 0.0f;
      });
    }
  }
}

// Where a lane's two pixels of each 16-pixel tile begin, in elements; the window's first cell.
struct TilePixels {
  PerLane<int> offset[kPixelTiles][2];
};

// place(pixel) for each pixel from `first` on; past the end the last one again, whose results are dropped.
template <class Place>
MBPO_GPU void locate(TilePixels& pixels, int first, int count, Place place) {
  MBPO_UNROLL
  for (int m = 0; m < kPixelTiles; ++m) {
    MBPO_UNROLL
    for (int half = 0; half < 2; ++half) {
      each_lane([&](int lane, int slot) {
        const int pixel = first + m * kPixelTile + half * 8 + lane / 4;
        pixels.offset[m][half][slot] = place(pixel < count ? pixel : count - 1);
      });
    }
  }
}

// A window of cells: kernel x kernel of them, `chunks` times 16 channels each. The weights lie in `planes`:
// the second holds what bfloat16 left of them in the first, so that weights of pixels, which bfloat16 holds
// exactly, have 16 bits.
struct Window {
  const Half* map;
  int kernel, line, step, chunks, planes;
  bool relu;
};

// How much of a Products is in use.
struct TileCount {
  int pixels, channels;
};

MBPO_GPU void load_left(PerLane<ProductA>& a, const Half* from, const PerLane<int> (&offset)[2], bool relu) {
  each_lane([&](int lane, int slot) {
    MBPO_UNROLL
    for (int i = 0; i < 4; ++i) {
      const Half* pair = from + offset[i % 2][slot] + 2 * (lane % 4) + 8 * (i / 2);
      const auto bits = load_as<std::uint32_t>(pair);
      a[slot].pair[i] = relu ? rectified_pair(bits) : bits;
    }
  });
}

// Channel tiles 2i and 2i + 1 lie in one 16-byte word a lane.
MBPO_GPU void load_right(PerLane<ProductB> (&b)[kChannelTiles], const Words* weights) {
  MBPO_UNROLL
  for (int n = 0; n < kChannelTiles; n += 2) {
    each_lane([&](int lane, int slot) {
      const Words four = load_as<Words>(weights + n / 2 * kLanes + lane);
      b[n][slot].pair[0] = four.word[0], b[n][slot].pair[1] = four.word[1];
      b[n + 1][slot].pair[0] = four.word[2], b[n + 1][slot].pair[1] = four.word[3];
    });
  }
}

// products += window * weights.
MBPO_GPU void accumulate(const Window& window, const TilePixels& pixels, const Words* weights,
                         TileCount tiles, Products& products) {
  for (int tap = 0; tap < window.kernel * window.kernel; ++tap) {
    const Half* from = window.map + tap / window.kernel * window.line + tap % window.kernel * window.step;
    for (int chunk = 0; chunk < window.chunks; ++chunk, from += kDepth) {
      PerLane<ProductA> a[kPixelTiles];
      MBPO_UNROLL
      for (int m = 0; m < kPixelTiles; ++m) {
        if (m < tiles.pixels) load_left(a[m], from, pixels.offset[m], window.relu);
      }
      for (int plane = 0; plane < window.planes; ++plane, weights += kWeightStep / sizeof(Words)) {
        PerLane<ProductB> b[kChannelTiles];
        load_right(b, weights);
        MBPO_UNROLL
        for (int m = 0; m < kPixelTiles; ++m) {
          MBPO_UNROLL
          for (int n = 0; n < kChannelTiles; ++n) {
            if (m < tiles.pixels && n < tiles.channels) multiply_add(products.at[m][n], a[m], b[n]);
          }
        }
      }
    }
  }
}

// store(pixel, channel, two values) for each pixel below `count`, channels counted within the group.
template <class Store>
MBPO_GPU void each_pair(const Products& products, int first, int count, TileCount tiles, Store store) {
  MBPO_UNROLL
  for (int m = 0; m < kPixelTiles; ++m) {
    MBPO_UNROLL
    for (int n = 0; n < kChannelTiles; ++n) {
      if (m >= tiles.pixels || n >= tiles.channels) continue;
      each_lane([&](int lane, int slot) {
        MBPO_UNROLL
        for (int half = 0; half < 2; ++half) {
          const int pixel = first + m * kPixelTile + half * 8 + lane / 4;
          const float* value = products.at[m][n][slot].value + 2 * half;
          if (pixel < count) store(pixel, n * kChannelTile + 2 * (lane % 4), value[0], value[1]);
        }
      });
    }
  }
}

// What a row's action does to the channels of a layer, and its bias; null where there is none.
struct Shift {
  const float *bias, *scale, *shift;
  MBPO_GPU float operator()(float value, int channel) const {
    value += bias[channel];
    return scale ? value * scale[channel] + shift[channel] : value;
  }
};

// `channels` filled up to whole groups: the length of a bias and of each row of a film table [A, 2, ...].
MBPO_BOTH inline int padded_channels(int channels) {
  return (channels + kChannelGroup - 1) / kChannelGroup * kChannelGroup;
}

MBPO_GPU Shift shift_of(const unsigned char* weights, std::int64_t bias, std::int64_t film, int channels,
                        int action) {
  const int padded = padded_channels(channels);
  Shift shift{reinterpret_cast<const float*>(weights + bias), nullptr, nullptr};
  if (film >= 0) {
    shift.scale = reinterpret_cast<const float*>(weights + film) + std::int64_t{2} * padded * action;
    shift.shift = shift.scale + padded;
  }
  return shift;
}

}  // namespace mbpo_fast::gpu
