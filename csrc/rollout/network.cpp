#include "rollout/network.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "rollout/kernels.h"
#include "rollout/pack.h"

namespace mbpo_fast {

namespace {

constexpr std::int64_t kMaxSide = 1 << 14;
constexpr std::int64_t kMaxChannels = 1 << 20;
constexpr std::int64_t kMaxFloats = std::int64_t{1} << 28;  // of one register, 1 GiB

std::int64_t ceil_div(std::int64_t value, std::int64_t by) {
  return (value + by - 1) / by;
}

std::string shape_text(const Shape& shape) {
  return text("[", shape.height, ",", shape.width, ",", shape.channels, "]");
}

bool has_film(LayerKind kind) {
  return kind == LayerKind::kConvolution || kind == LayerKind::kLinear || kind == LayerKind::kNorm;
}

Layer layer_from(const std::int64_t* f) {
  return {static_cast<LayerKind>(f[0]),  f[1], f[2], f[3],  f[4], f[5], f[6],
          static_cast<Activation>(f[7]), f[8], f[9], f[10], f[11]};
}

void check_fields(const char* op, std::size_t index, const Layer& layer) {
  const auto where = [&](const char* what) { return text("layer ", index, " with ", what); };
  const auto kind = static_cast<std::int64_t>(layer.kind);
  MBPO_CHECK(kind >= 0 && kind <= static_cast<std::int64_t>(LayerKind::kExpectation), op,
             where("a kind from 0 to 7"), kind);
  const auto activation = static_cast<std::int64_t>(layer.activation);
  MBPO_CHECK(activation == 0 || activation == 1, op, where("activation 0 (none) or 1 (relu)"), activation);
  const bool reads_frames = layer.kind == LayerKind::kFrames;
  const auto last = static_cast<std::int64_t>(index) - 1;
  MBPO_CHECK(reads_frames ? layer.input == kNone : layer.input >= 0 && layer.input <= last, op,
             where(reads_frames ? "input -1" : "the register of an earlier layer as input"), layer.input);
  const bool may_add = layer.kind == LayerKind::kConvolution;
  MBPO_CHECK(layer.other == kNone || (may_add && layer.other >= 0 && layer.other <= last), op,
             where(may_add ? "the register of an earlier layer, or -1, to add" : "nothing to add"),
             layer.other);
  MBPO_CHECK(layer.film == kNone || has_film(layer.kind), op, where("no film"), layer.film);
  MBPO_CHECK(layer.channels >= 1 && layer.channels <= kMaxChannels, op, where("1 to 2**20 channels"),
             layer.channels);
  MBPO_CHECK(layer.kernel >= 1 && layer.kernel <= kMaxSide && layer.stride >= 1 && layer.stride <= kMaxSide &&
                 layer.padding >= 0 && layer.padding <= layer.kernel,
             op, where("kernel >= 1, stride >= 1, 0 <= padding <= kernel"),
             text(layer.kernel, ", ", layer.stride, ", ", layer.padding));
}

}  // namespace

Network::Network(const char* op, std::span<const std::int64_t> table, std::span<const float> weights,
                 std::int64_t members, const NetworkInput& input, std::span<const std::int64_t> outputs)
    : op_(op), input_(input), kernels_(rollout_kernels(isa_in_use())) {
  MBPO_CHECK(!table.empty() && table.size() % kLayerFields == 0, op, "at least one layer", table.size());
  MBPO_CHECK(members >= 1 && members <= 1024, op, "1 to 1024 members", members);
  MBPO_CHECK(input.context >= 1 && input.height >= 1 && input.width >= 1 && input.actions >= 1 &&
                 std::max({input.context, input.height, input.width, input.actions}) <= kMaxSide,
             op, "frames and actions of at least 1",
             text("[", input.context, ",", input.height, ",", input.width, "], ", input.actions));
  weights_per_member_ = static_cast<std::int64_t>(weights.size()) / members;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    MBPO_CHECK(std::isfinite(weights[i]), op, "finite weights", weights[i]);
  }
  for (std::size_t i = 0; i * kLayerFields < table.size(); ++i) {
    layers_.push_back(layer_from(table.data() + i * kLayerFields));
    check_fields(op, i, layers_[i]);
    registers_.push_back({shape_of(i)});
    check_weights(i);
  }
  MBPO_CHECK(!outputs.empty(), op, "at least one output", 0);
  for (const std::int64_t output : outputs) {
    MBPO_CHECK(output >= 0 && output < static_cast<std::int64_t>(layers_.size()), op,
               text("outputs among the registers 0 to ", layers_.size() - 1), output);
    outputs_.push_back(output);
  }
  place_registers();
  packed_.resize(static_cast<std::size_t>(members));
  for (std::int64_t member = 0; member < members; ++member) {
    const float* own = weights.data() + member * weights_per_member_;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      packed_[static_cast<std::size_t>(member)].push_back(pack_layer(*this, i, own));
    }
  }
}

Shape Network::shape_of(std::size_t index) const {
  const Layer& layer = layers_[index];
  const auto what = [&](const char* wanted) {
    return text("layer ", index, " (", kLayerNames[static_cast<std::size_t>(layer.kind)], ") ", wanted);
  };
  if (layer.kind == LayerKind::kFrames) {
    const std::int64_t cell = layer.kernel;
    MBPO_CHECK(layer.channels <= input_.context, op_,
               what(text("of at most ", input_.context, " frames").c_str()), layer.channels);
    MBPO_CHECK(input_.height % cell == 0 && input_.width % cell == 0, op_,
               what(text("with cells that tile ", input_.height, "x", input_.width).c_str()), cell);
    MBPO_CHECK(layer.option == 0 || layer.option == 1, op_, what("with option 0 or 1"), layer.option);
    return {input_.height / cell, input_.width / cell, layer.channels * cell * cell};
  }
  const Shape in = registers_[static_cast<std::size_t>(layer.input)].shape;
  const std::int64_t area = layer.kernel * layer.kernel;
  Shape out = in;
  switch (layer.kind) {
    case LayerKind::kConvolution: {
      const std::int64_t height = in.height + 2 * layer.padding - layer.kernel;
      const std::int64_t width = in.width + 2 * layer.padding - layer.kernel;
      MBPO_CHECK(layer.option >= 0 && layer.option < in.channels && layer.option % kChannelUnit == 0, op_,
                 what(text("that skips a multiple of 16 below ", in.channels, " channels").c_str()),
                 layer.option);
      MBPO_CHECK(height >= 0 && width >= 0, op_, what("with a kernel inside its input"),
                 text(layer.kernel, " on ", shape_text(in), " padded by ", layer.padding));
      out = {height / layer.stride + 1, width / layer.stride + 1, layer.channels};
      if (layer.other != kNone) {
        const Register& other = registers_[static_cast<std::size_t>(layer.other)];
        MBPO_CHECK(other.shape == out, op_, what(text("that adds a map ", shape_text(out)).c_str()),
                   shape_text(other.shape));
      }
      break;
    }
    case LayerKind::kLinear:
      out = {1, 1, layer.channels};
      break;
    case LayerKind::kNorm:
      MBPO_CHECK(layer.option >= 1 && in.channels % layer.option == 0, op_,
                 what(text("with groups that divide ", in.channels, " channels").c_str()), layer.option);
      break;
    case LayerKind::kPool:
      MBPO_CHECK(layer.option >= 0 && layer.option <= 2, op_, what("with option 0, 1 or 2"), layer.option);
      out = {1, 1, in.channels};
      break;
    case LayerKind::kDepthToSpace:
      MBPO_CHECK(in.channels % area == 0, op_, what(text("of a multiple of ", area, " channels").c_str()),
                 in.channels);
      out = {in.height * layer.kernel, in.width * layer.kernel, in.channels / area};
      break;
    case LayerKind::kExpectation:
      MBPO_CHECK(layer.option >= 1 && layer.option <= kMaxChannels &&
                     in == (Shape{1, 1, layer.channels * layer.option}),
                 op_, what(text("of [1,1,", layer.channels, " * ", layer.option, "]").c_str()),
                 shape_text(in));
      out = {1, 1, layer.channels};
      break;
    case LayerKind::kActivation:
    case LayerKind::kFrames:
      break;
  }
  MBPO_CHECK(out.channels == layer.channels, op_, what(text("with ", out.channels, " channels").c_str()),
             layer.channels);
  MBPO_CHECK(std::max(out.height, out.width) <= kMaxSide &&
                 checked_product(op_, {out.height, out.width, out.channels}) <= kMaxFloats,
             op_, what("of at most 2**28 numbers"), shape_text(out));
  return out;
}

void Network::check_range(std::size_t index, const char* what, std::int64_t offset,
                          std::int64_t count) const {
  MBPO_CHECK(
      offset >= 0 && offset <= weights_per_member_ && count <= weights_per_member_ - offset, op_,
      text(count, " numbers of layer ", index, "'s ", what, " within ", weights_per_member_, " weights"),
      text("offset ", offset));
}

void Network::check_weights(std::size_t index) const {
  const Layer& layer = layers_[index];
  const std::int64_t out = layer.channels;
  const Shape in = layer.input == kNone ? Shape{} : registers_[static_cast<std::size_t>(layer.input)].shape;
  switch (layer.kind) {
    case LayerKind::kFrames:
      return check_range(index, "scales", layer.weight, 2);
    case LayerKind::kConvolution:
      check_range(index, "weight", layer.weight,
                  checked_product(op_, {out, layer.kernel, layer.kernel, in.channels - layer.option}));
      check_range(index, "bias", layer.bias, out);
      break;
    case LayerKind::kLinear:
      check_range(index, "weight", layer.weight, checked_product(op_, {out, in.size()}));
      check_range(index, "bias", layer.bias, out);
      break;
    case LayerKind::kNorm:
      check_range(index, "weight", layer.weight, out);
      check_range(index, "bias", layer.bias, out);
      break;
    case LayerKind::kExpectation:
      return check_range(index, "atoms", layer.weight, layer.option);
    case LayerKind::kActivation:
    case LayerKind::kPool:
    case LayerKind::kDepthToSpace:
      return;
  }
  if (layer.film != kNone) {
    check_range(index, "film", layer.film, checked_product(op_, {2, input_.actions, out}));
  }
}

bool Network::is_winograd(std::size_t index) const {
  const Layer& layer = layers_[index];
  if (layer.kind != LayerKind::kConvolution || layer.kernel != 3 || layer.stride != 1) return false;
  const Register& in = registers_[static_cast<std::size_t>(layer.input)];
  const Shape& out = registers_[index].shape;
  // Small maps waste most of their tiles.
  return in.step % kChannelUnit == 0 && std::min(out.height, out.width) >= kWinogradTile;
}

void Network::place_registers() {
  std::vector<std::size_t> segment(layers_.size());
  for (std::size_t i = 0, now = 0; i < layers_.size(); ++i) {
    // A linear layer takes all rows of a block at once: a segment of its own.
    const bool begins =
        layers_[i].kind == LayerKind::kLinear || (i && layers_[i - 1].kind == LayerKind::kLinear);
    segment[i] = now += begins;
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    Register& own = registers_[i];
    const std::int64_t channels = own.shape.channels;
    const bool packs = layer.kind == LayerKind::kFrames || layer.kind == LayerKind::kDepthToSpace;
    own.step = packs && channels < kChannelUnit ? channels : whole_units(channels);
    if (layer.kind == LayerKind::kNorm || layer.kind == LayerKind::kActivation) {
      own.step = registers_[static_cast<std::size_t>(layer.input)].step;
    }
    own.kept = layer.kind == LayerKind::kLinear;
    for (const std::int64_t read : {layer.input, layer.other}) {
      if (read == kNone) continue;
      const auto from = static_cast<std::size_t>(read);
      registers_[from].kept |= segment[from] != segment[i];
      const bool pads = layer.kind == LayerKind::kConvolution && read == layer.input;
      if (pads) registers_[from].border = std::max(registers_[from].border, layer.padding);
    }
    MBPO_CHECK(layer.other == kNone || registers_[static_cast<std::size_t>(layer.other)].step == own.step,
               op_, text("layer ", i, " to add a register of ", own.step, " stored channels"), layer.other);
  }
  for (const std::int64_t output : outputs_) {
    const auto from = static_cast<std::size_t>(output);
    registers_[from].kept |= segment[from] != segment.back();
  }
  for (Register& own : registers_) {
    own.rows = own.shape.height + 2 * own.border;
    own.columns = own.shape.width + 2 * own.border;
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (!is_winograd(i)) continue;
    // Tiles may reach past the map's end.
    Register& in = registers_[static_cast<std::size_t>(layers_[i].input)];
    const auto reach = [&](std::int64_t side) {
      return in.border - layers_[i].padding + ceil_div(side, kWinogradTile) * kWinogradTile + 2;
    };
    in.rows = std::max(in.rows, reach(registers_[i].shape.height));
    in.columns = std::max(in.columns, reach(registers_[i].shape.width));
  }
}

std::int64_t Network::multiplications() const {
  std::int64_t total = 0;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    if (layer.input == kNone) continue;
    const Shape& in = registers_[static_cast<std::size_t>(layer.input)].shape;
    const std::int64_t window = layer.kernel * layer.kernel * (in.channels - layer.option);
    if (layer.kind == LayerKind::kConvolution) total += registers_[i].shape.size() * window;
    if (layer.kind == LayerKind::kLinear) total += layer.channels * in.size();
  }
  return total;
}

}  // namespace mbpo_fast
