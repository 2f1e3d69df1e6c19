// The inner loops of the rollout, one set for each instruction set.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace mbpo_fast {

using Bf16 = std::uint16_t;  // the upper half of a float32

inline constexpr std::int64_t kChannelUnit = 16;  // channels come in multiples of this, but for small inputs
constexpr std::int64_t whole_units(std::int64_t channels) {
  return (channels + kChannelUnit - 1) / kChannelUnit * kChannelUnit;
}
inline constexpr std::int64_t kWinogradTile = 3;   // outputs of a tile, a side
inline constexpr std::int64_t kWinogradPatch = 5;  // inputs of a tile, a side
inline constexpr std::int64_t kWinogradPoints = kWinogradPatch * kWinogradPatch;
inline constexpr std::int64_t kWinogradGroup = 12;  // tiles that go through all steps together

// What happens to a sum on its way to memory: sum * scale + shift, plus the residual, then the activation.
struct Epilogue {
  const float* scale;        // by channel
  const float* shift;        // by channel
  std::int64_t affine_step;  // floats from one pixel's scales to the next one's: 0 where all share them
  const float* residual;     // null, or laid out like the map with these steps
  std::int64_t residual_line, residual_step;
  bool relu;
};

// Weights of bfloat16 lie in pairs of terms: [terms / 2, block, 2]. So `run`, steps and lines are even.

// Sums over windows: pixel (y, x) reads `window_lines` lines of `run` floats from in + y * in_line + x *
// in_step, `window_line` apart. A linear layer is one whose pixels are the rows of the batch.
template <class Number>
struct WindowSum {
  const Number* in;
  std::int64_t in_line, in_step, window_lines, window_line, run;
  const Number* weight;  // blocks of output channels: [window_lines * run, block]
  float* out;
  std::int64_t out_line, out_step, height, width, channels;  // channels: a multiple of kChannelUnit
  Epilogue epilogue;
};

// A 3x3 convolution of stride 1 by Winograd's F(3x3, 3x3) (Lavin and Gray 2016): 25 products in place of 81.
template <class Number>
struct WinogradSum {
  const float* in;
  std::int64_t in_line, in_step, in_channels;  // in_channels a multiple of kChannelUnit
  const Number* weight;                        // blocks of output channels: [25, in_channels, block]
  float* out;
  std::int64_t out_line, out_step, height, width, channels;
  Epilogue epilogue;
  float* scratch;  // winograd_scratch(in_channels) floats
};
// Numbers from one point's tiles to the next one's. The line between them keeps the points of a tile in
// different sets of the cache.
constexpr std::int64_t winograd_plane(std::int64_t channels) {
  return kWinogradGroup * channels + kChannelUnit;
}
constexpr std::int64_t winograd_scratch(std::int64_t in_channels) {
  return kWinogradPoints * (winograd_plane(in_channels) + winograd_plane(2 * kChannelUnit));
}

// u8 frames [count, height, width], `frame` bytes apart, to cells, see LayerKind::kFrames.
struct FrameCells {
  const std::uint8_t* frames;
  std::int64_t count, frame, height, width, cell;
  float scale, difference_scale;
  bool differences;
  float* out;
  std::int64_t out_line, out_step;
};

// u8 frames [frames, height, width] to mean gray levels of cells, or their steps: see LayerKind::kMeans.
struct FrameMeans {
  const std::uint8_t* frames;
  std::int64_t count, height, width, cell;
  bool steps;
  float* out;
  std::int64_t out_line, out_step;
  std::int32_t* sums;  // two numbers a cell
  float* planes;       // a number for each frame of a cell
};

// The predicted change of a frame, put onto it.
struct FrameChange {
  const float* head;  // [height / cell, width / cell, (mask,) change], cells as in kDepthToSpace
  std::int64_t head_line, head_step, height, width, cell;
  bool masked;
  const std::uint8_t* newest;
  std::uint8_t* out;
};

struct MapView {
  const float* in;
  std::int64_t in_line, step, height, width;
};

struct MaxPool {
  MapView map;
  std::int64_t kernel, stride, padding;
  float* out;
  std::int64_t out_line, height, width;
};

struct RolloutKernels {
  std::int64_t block;  // output channels of a kernel call: weights are packed for it
  void (*window_sum)(const WindowSum<float>& call);
  void (*winograd_sum)(const WinogradSum<float>& call);
  // The same by products of bfloat16, summed in float32; null where these are no faster.
  void (*window_sum_bf16)(const WindowSum<Bf16>& call);
  void (*winograd_sum_bf16)(const WinogradSum<Bf16>& call);
  void (*to_bf16)(const float* from, std::int64_t count, Bf16* to);  // count: a multiple of kChannelUnit
  void (*cells)(const FrameCells& call);
  void (*means)(const FrameMeans& call);
  // out = in * scale + shift by channel, then the activation; lines of width * step floats.
  void (*affine)(const MapView& map, const float* scale, const float* shift, bool relu, float* out,
                 std::int64_t out_line);
  void (*rectify)(const MapView& map, float* out, std::int64_t out_line);
  // The sum of two maps of one shape, then the activation; lines of width * step floats.
  void (*add)(const MapView& map, const MapView& other, bool relu, float* out, std::int64_t out_line);
  void (*clamp)(const MapView& map, float least, float most, float* out, std::int64_t out_line);
  void (*max_pool)(const MaxPool& call);
  // By channel, over the cells: sums of the values, of their magnitudes, of their squares around `centre`.
  void (*channel_sums)(const MapView& map, float* out);
  void (*channel_magnitudes)(const MapView& map, float* out);
  void (*channel_squares)(const MapView& map, const float* centre, float* out);
  void (*channel_maxima)(const MapView& map, float* out);
  void (*channel_exponentials)(const MapView& map, const float* centre, float* out);
  void (*change)(const FrameChange& call);
};

extern const RolloutKernels kRolloutBaseline;
extern const RolloutKernels kRolloutAvx2;
extern const RolloutKernels kRolloutAvx512;
extern const RolloutKernels kRolloutAvx512Bf16;

const RolloutKernels& rollout_kernels(Isa isa);

}  // namespace mbpo_fast
