// A network as a list of layers: what the rollout engine runs in place of a torch module.
//
// Layer i writes register i, a map [h, w, c] of float32 for each row of the batch (a vector is 1x1xc). It
// reads the register `input`, which an earlier layer wrote; the first three kinds read none. So a table of
// whole numbers and one flat array of weights a member are the network, whatever built them. Weights lie as
// below, at an offset into that array; kNone means that there are none.
//
//   kFrames       the newest `channels` frames, cut into cells of kernel x kernel pixels: channel f * k * k +
//                 i is pixel i of the cell in frame f. weight [2] = (s, d). option 0: s * pixel. option 1: d
//                 * the differences of neighbouring frames, then s * the newest frame.
//   kMeans        mean gray levels of cells of kernel x kernel pixels. option 0: of the newest `channels`
//                 frames. option 1: the steps between the means of neighbouring frames, of channels + 1
//                 frames.
//   kConstant     weight [h, w, channels], the same map for every row, for cells of kernel x kernel pixels
//   kConvolution  weight [channels, kernel, kernel, c - option], stride, zero padding, bias: over the input's
//                 channels from `option` on, a multiple of 16
//   kLinear       weight [channels, h, w, c], bias: the whole map to a vector
//   kNorm         group normalisation (Wu and He 2018) with kNormEpsilon, option = groups; weight, bias [c]
//   kActivation   what follows below, alone
//   kConcat       the input's channels, then those of the register `other`, a map of the same cells
//   kClamp        weight [2]: not below the first, not above the second
//   kMaxPool      maximum over windows of kernel x kernel cells, stride, padding; outside counts for nothing
//   kPool         over the cells of the map, by channel. option 0: mean, 1: maximum, 2: log of the mean of
//                 exp, 3: mean of the magnitudes. kernel: the map is cut into so many bands of lines, each
//                 pooled alone, -> [bands * channels]
//   kDepthToSpace channel c * k * k + i becomes pixel i of a k x k cell in channel c, k = kernel
//   kExpectation  [channels * atoms] -> [channels]: mean of weight [atoms] under a softmax over the atoms,
//                 option = atoms (Bellemare et al. 2017)
//
// `bf16` 1 allows kConvolution and kLinear products of bfloat16, summed in float32, where these are faster.
//
// Then, in this order, where the layer has them:
//   `film`, tables [A, channels] of scales and of shifts by the row's action, y * (1 + scale) + shift (Perez
//   et al. 2018; kConvolution, kLinear, kNorm); the same by the register `condition`, a vector of `channels`
//   scales and as many shifts (kConvolution, kNorm); the register `other` added (kConvolution, kActivation);
//   the activation (kConvolution, kLinear, kNorm, kActivation).
#pragma once

#include <cstdint>
#include <iterator>
#include <span>
#include <vector>

#include "core/aligned.h"
#include "core/isa.h"

namespace mbpo_fast {

enum class LayerKind : std::int64_t {
  kFrames,
  kMeans,
  kConstant,
  kConvolution,
  kLinear,
  kNorm,
  kActivation,
  kConcat,
  kClamp,
  kMaxPool,
  kPool,
  kDepthToSpace,
  kExpectation,
};
inline constexpr const char* kLayerNames[] = {
    "frames", "means", "constant", "convolution", "linear",         "norm",       "activation",
    "concat", "clamp", "max_pool", "pool",        "depth_to_space", "expectation"};
inline constexpr std::int64_t kLayerKinds = std::size(kLayerNames);
enum class Activation : std::int64_t { kIdentity, kRelu };

inline constexpr std::int64_t kNone = -1;

// A row of the table; `kLayerFields` whole numbers in this order.
struct Layer {
  LayerKind kind;
  std::int64_t input, other, condition;
  std::int64_t channels, kernel, stride, padding;
  Activation activation;
  std::int64_t weight, bias, film;  // offsets
  std::int64_t option;
  bool bf16;
};
inline constexpr std::int64_t kLayerFields = 14;

inline constexpr float kNormEpsilon = 1e-5f;
// Cells that are averaged: their sums are exact in float32.
inline constexpr std::int64_t kMaxMeanCell = 64;
// Numbers of a linear layer's weights that stay in a cache beside a row's maps; a larger one is done for many
// rows at once.
inline constexpr std::int64_t kSmallLinear = 1 << 15;

struct Shape {
  std::int64_t height, width, channels;
  std::int64_t size() const { return height * width * channels; }
  bool operator==(const Shape&) const = default;
};

struct NetworkInput {
  std::int64_t context, height, width;  // of the frames u8 [context, height, width] of a row
  std::int64_t actions;
};

// A register's place in memory: a map with a border of zeros, as wide as its readers need, and `step` floats
// a cell, the channels filled up with zeros.
struct Register {
  Shape shape{};
  std::int64_t border = 0;
  std::int64_t rows = 0, columns = 0, step = 0;  // with the border
  bool kept = false;                             // for all rows of a block, else for the one under way
  std::int64_t line() const { return columns * step; }
  std::int64_t size() const { return rows * line(); }
  std::int64_t start() const { return border * line() + border * step; }
};

struct RolloutKernels;

// Weights as the kernels read them.
struct PackedLayer {
  AlignedFloats weight, bias, film;
  AlignedVector<std::uint16_t> weight_bf16;  // Bf16, in place of `weight`
};

// E networks of one architecture. Immutable, so safe to share between threads.
class Network {
 public:
  // table [layers, kLayerFields], weights [members, weights_per_member], outputs: registers, all copied.
  // Throws std::invalid_argument where a layer does not fit or a weight is not finite.
  Network(const char* op, std::span<const std::int64_t> table, std::span<const float> weights,
          std::int64_t members, const NetworkInput& input, std::span<const std::int64_t> outputs);

  const NetworkInput& input() const { return input_; }
  std::int64_t members() const { return static_cast<std::int64_t>(packed_.size()); }
  const std::vector<std::int64_t>& outputs() const { return outputs_; }
  const Shape& output_shape(std::size_t which) const {
    return registers_[static_cast<std::size_t>(outputs_[which])].shape;
  }
  // Multiplications of one row by the plain algorithms.
  std::int64_t multiplications() const;

  const std::vector<Layer>& layers() const { return layers_; }
  const std::vector<Register>& registers() const { return registers_; }
  const std::vector<PackedLayer>& packed(std::int64_t member) const {
    return packed_[static_cast<std::size_t>(member)];
  }
  const RolloutKernels& kernels() const { return kernels_; }
  bool is_winograd(std::size_t layer) const;
  // A sum by products of bfloat16.
  bool is_bf16(std::size_t layer) const;
  // Cells of frames that only a 1x1 convolution reads: they are made line by line, as it asks for them.
  bool is_streamed(std::size_t layer) const { return streamed_[layer]; }
  // Floats from a layer's packed scales to its shifts.
  std::int64_t stored_scales(std::size_t layer) const;
  // A linear layer that takes all rows of a block at once, because its weights are larger than its inputs.
  bool is_batched(std::size_t layer) const;

 private:
  void place_registers(const char* op);
  void widen_for_winograd();
  void find_streamed();

  NetworkInput input_;
  std::vector<Layer> layers_;
  std::vector<Register> registers_;
  std::vector<bool> streamed_;
  std::vector<std::int64_t> outputs_;
  const RolloutKernels& kernels_;
  std::vector<std::vector<PackedLayer>> packed_;  // [members][layers]
};

}  // namespace mbpo_fast
