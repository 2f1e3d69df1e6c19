// A network as a GPU runs it: what `Compiler` (compile.h) makes of a layer list.
//
// The list is cut at its large linear layers. Between two of them all layers run in one kernel, a thread
// block for each row, the row's maps in shared memory from layer to layer. A large linear layer is a kernel
// of its own, for its weights are larger than its inputs: a block multiplies 64 rows of one member at a time.
// What goes from one kernel to the next, a few kilobytes a row, is "kept" in the caller's workspace.
#pragma once

#include <cstdint>

#include "rollout/network.h"

namespace mbpo_fast::gpu {

// A map in shared memory, [h, w, c] with a border of zeros. float32 where no matrix product reads it, else
// bfloat16 with the channels filled up with zeros to a multiple of 16; a cell takes `step` elements, some
// more than it has, so that neighbouring cells lie in different banks.
struct Map {
  std::int32_t offset;  // bytes
  std::int32_t height, width, channels;
  std::int32_t border, line, step;  // line and step in elements
  std::int32_t is_float;
};

// The kinds of layers (network.h) in their order, then what a kernel does beside them.
enum class OpKind : std::int32_t {
  kFrames,  // of the newest `count` frames those from `first` on, scaled, or their differences
  kMeans,
  kConstant,
  kConvolution,
  kLinear,  // a small one
  kNorm,
  kActivation,
  kConcat,
  kClamp,
  kMaxPool,
  kPool,
  kDepthToSpace,
  kExpectation,
  kLoad,    // kept values to a map
  kStore,   // a map to kept values
  kEmit,    // a map to the row's outputs
  kChange,  // a map of changes onto the newest frame
};

constexpr OpKind op_kind(LayerKind kind) {
  return static_cast<OpKind>(kind);
}
static_assert(op_kind(LayerKind::kConvolution) == OpKind::kConvolution &&
              op_kind(LayerKind::kExpectation) == OpKind::kExpectation &&
              static_cast<std::int64_t>(OpKind::kLoad) == kLayerKinds);

// The fields of `Layer` (network.h) with what the kernels need beside them.
struct Op {
  OpKind kind;
  Map in, other, condition, out;  // an absent one has no channels
  std::int32_t kernel, stride, padding, option;
  std::int32_t relu, relu_input;
  std::int32_t first, count;   // kFrames: see there; kConvolution: of the channels that it reads
  std::int32_t planes, tiles;  // of weights; 16-pixel tiles that a warp takes at a time
  float numbers[2];            // kFrames: scales of pixels and of steps; kClamp: limits
  // Bytes into the member's weights; -1: none. `constant`: a map [h, w, c] to add.
  std::int64_t weight, bias, film, constant;
  std::int64_t place;  // kLoad, kStore, kEmit: elements into the row's values
};

// A large linear layer, over kept values.
struct BatchedLinear {
  std::int32_t depth, channels;  // depth: a multiple of 16
  std::int32_t relu;
  std::int64_t weight, bias, film;
  std::int64_t in, out;  // elements into the row's kept values
  std::int64_t emit;     // into its outputs; -1: no output
};

inline constexpr int kPixelTile = 16, kPixelTiles = 4;  // a warp's part of a product: 64 pixels or rows
inline constexpr int kChannelTile = 8, kChannelTiles = 4, kChannelGroup = kChannelTile * kChannelTiles;
inline constexpr int kDepth = 16;  // of one product
inline constexpr int kRowTile = kPixelTile * kPixelTiles;
inline constexpr int kRowWarps = 8, kLinearWarps = 4;
// bytes of B for one step in depth: kChannelGroup channels
inline constexpr int kWeightStep = kDepth * kChannelGroup * 2;

}  // namespace mbpo_fast::gpu
