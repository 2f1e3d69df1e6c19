// A network as a list of layers: what the rollout engine runs in place of a torch module.
//
// Layer i writes register i, a map [h, w, c] of float32 for each row of the batch (a vector is 1x1xc). It
// reads the register `input`, which an earlier layer wrote; only kFrames reads the row's uint8 frames. So a
// table of whole numbers and one flat array of weights a member are the network, whatever built them. Weights
// lie as below, at an offset into that array; kNone means that there are none.
//
//   kFrames       the newest `channels` frames, cut into cells of kernel x kernel pixels: channel f * k * k +
//   i
//                 is pixel i of the cell in frame f. weight [2] = (s, d). option 0: s * pixel. option 1: d *
//                 the differences of neighbouring frames, then s * the newest frame.
//   kConvolution  weight [channels, kernel, kernel, c - option], stride, zero padding, bias: over the input's
//                 channels from `option` on, a multiple of 16
//   kLinear       weight [channels, h, w, c], bias: the whole map to a vector
//   kNorm         group normalisation (Wu and He 2018), option = groups, eps 1e-5; weight [c], bias [c]
//   kActivation   the activation alone
//   kPool         over the cells of the map, by channel. option 0: mean, 1: maximum, 2: log of the mean of
//   exp kDepthToSpace channel c * k * k + i becomes pixel i of a k x k cell in channel c, k = kernel
//   kExpectation  [channels * atoms] -> [channels]: mean of weight [atoms] under a softmax over the atoms,
//                 option = atoms (Bellemare et al. 2017)
//
// Then, in this order, where the layer has them: film, tables [A, channels] of scales and of shifts by the
// row's action, y * (1 + scale) + shift (Perez et al. 2018; kConvolution, kLinear, kNorm); the register
// `other` added (kConvolution); the activation.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/isa.h"

namespace mbpo_fast {

enum class LayerKind : std::int64_t {
  kFrames,
  kConvolution,
  kLinear,
  kNorm,
  kActivation,
  kPool,
  kDepthToSpace,
  kExpectation,
};
inline constexpr const char* kLayerNames[] = {"frames",     "convolution", "linear",         "norm",
                                              "activation", "pool",        "depth_to_space", "expectation"};
enum class Activation : std::int64_t { kIdentity, kRelu };

inline constexpr std::int64_t kNone = -1;

// A row of the table; `kLayerFields` whole numbers in this order.
struct Layer {
  LayerKind kind;
  std::int64_t input, other;
  std::int64_t channels, kernel, stride, padding;
  Activation activation;
  std::int64_t weight, bias, film;  // offsets
  std::int64_t option;
};
inline constexpr std::int64_t kLayerFields = 12;

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
  std::vector<float> weight, bias, film;
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

 private:
  Shape shape_of(std::size_t index) const;
  void check_weights(std::size_t index) const;
  void check_range(std::size_t index, const char* what, std::int64_t offset, std::int64_t count) const;
  void place_registers();

  const char* op_;
  NetworkInput input_;
  std::vector<Layer> layers_;
  std::vector<Register> registers_;
  std::vector<std::int64_t> outputs_;
  std::int64_t weights_per_member_ = 0;
  const RolloutKernels& kernels_;
  std::vector<std::vector<PackedLayer>> packed_;  // [members][layers]
};

}  // namespace mbpo_fast
