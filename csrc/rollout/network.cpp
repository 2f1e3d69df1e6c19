#include "rollout/network.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "rollout/kernels.h"
#include "rollout/layer_rules.h"
#include "rollout/pack.h"

namespace mbpo_fast {

namespace {

constexpr std::int64_t kMaxExtent = 1 << 14;

// Cells are read and written one by one, so they may stay as narrow as the input's.
bool keeps_step(LayerKind kind) {
  return kind == LayerKind::kNorm || kind == LayerKind::kActivation || kind == LayerKind::kClamp ||
         kind == LayerKind::kMaxPool;
}

}  // namespace

Network::Network(const char* op, std::span<const std::int64_t> table, std::span<const float> weights,
                 std::int64_t members, const NetworkInput& input, std::span<const std::int64_t> outputs)
    : input_(input), kernels_(rollout_kernels(isa_in_use())) {
  MBPO_CHECK(!table.empty() && table.size() % kLayerFields == 0, op, "at least one layer", table.size());
  MBPO_CHECK(members >= 1 && members <= 1024, op, "1 to 1024 members", members);
  MBPO_CHECK(input.context >= 1 && input.height >= 1 && input.width >= 1 && input.actions >= 1 &&
                 std::max({input.context, input.height, input.width, input.actions}) <= kMaxExtent,
             op, "frames and actions of at least 1",
             text("[", input.context, ",", input.height, ",", input.width, "], ", input.actions));
  const std::int64_t available = static_cast<std::int64_t>(weights.size()) / members;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    MBPO_CHECK(std::isfinite(weights[i]), op, "finite weights", weights[i]);
  }
  for (std::size_t i = 0; i * kLayerFields < table.size(); ++i) {
    const Layer& layer = layers_.emplace_back(read_layer(op, i, table.data() + i * kLayerFields));
    const Shape shape = shape_of_layer(op, i, layer, registers_, input_);
    const Shape in = layer.input == kNone ? Shape{} : registers_[static_cast<std::size_t>(layer.input)].shape;
    check_weights(op, i, layer, count_weights(op, layer, in, shape, input_.actions), available);
    registers_.push_back({shape});
  }
  MBPO_CHECK(!outputs.empty(), op, "at least one output", 0);
  for (const std::int64_t output : outputs) {
    MBPO_CHECK(output >= 0 && output < static_cast<std::int64_t>(layers_.size()), op,
               text("outputs among the registers 0 to ", layers_.size() - 1), output);
    outputs_.push_back(output);
  }
  place_registers(op);
  packed_.resize(static_cast<std::size_t>(members));
  for (std::int64_t member = 0; member < members; ++member) {
    const float* own = weights.data() + member * available;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      packed_[static_cast<std::size_t>(member)].push_back(pack_layer(*this, i, own));
    }
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

bool Network::is_bf16(std::size_t index) const {
  const Layer& layer = layers_[index];
  if (!layer.bf16 || !kernels_.window_sum_bf16) return false;
  const bool is_large = layer.kind == LayerKind::kConvolution || is_batched(index);
  return is_large && registers_[static_cast<std::size_t>(layer.input)].step % kChannelUnit == 0;
}

std::int64_t Network::stored_scales(std::size_t index) const {
  return std::max(whole_units(layers_[index].channels), registers_[index].step);
}

bool Network::is_batched(std::size_t index) const {
  const Layer& layer = layers_[index];
  if (layer.kind != LayerKind::kLinear) return false;
  // A constant is there once, not once a row.
  if (layers_[static_cast<std::size_t>(layer.input)].kind == LayerKind::kConstant) return false;
  return layer.channels * registers_[static_cast<std::size_t>(layer.input)].shape.size() > kSmallLinear;
}

void Network::place_registers(const char* op) {
  std::vector<std::size_t> segment(layers_.size());
  for (std::size_t i = 0, now = 0; i < layers_.size(); ++i) {
    // A layer that takes all rows of a block at once is a segment of its own.
    segment[i] = now += is_batched(i) || (i && is_batched(i - 1));
  }
  const auto is_kept = [&](std::int64_t read, std::size_t reader) {
    return segment[static_cast<std::size_t>(read)] != segment[reader];
  };
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    Register& own = registers_[i];
    const std::int64_t channels = own.shape.channels;
    const bool packs = layer.kind == LayerKind::kFrames || layer.kind == LayerKind::kDepthToSpace;
    own.step = packs && channels < kChannelUnit ? channels : whole_units(channels);
    if (keeps_step(layer.kind)) own.step = registers_[static_cast<std::size_t>(layer.input)].step;
    own.kept = is_batched(i);
    for (const std::int64_t read : {layer.input, layer.other, layer.condition}) {
      if (read != kNone) registers_[static_cast<std::size_t>(read)].kept |= is_kept(read, i);
    }
    if (layer.kind == LayerKind::kConvolution) {
      std::int64_t& border = registers_[static_cast<std::size_t>(layer.input)].border;
      border = std::max(border, layer.padding);
    }
    MBPO_CHECK(layer.other == kNone || layer.kind == LayerKind::kConcat ||
                   registers_[static_cast<std::size_t>(layer.other)].step == own.step,
               op, text("layer ", i, " to add a register of ", own.step, " stored channels"), layer.other);
  }
  for (const std::int64_t output : outputs_) {
    registers_[static_cast<std::size_t>(output)].kept |= is_kept(output, layers_.size() - 1);
  }
  for (Register& own : registers_) {
    own.rows = own.shape.height + 2 * own.border;
    own.columns = own.shape.width + 2 * own.border;
  }
  widen_for_winograd();
  find_streamed();
}

// Tiles may reach past the map's end.
void Network::widen_for_winograd() {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (!is_winograd(i)) continue;
    Register& in = registers_[static_cast<std::size_t>(layers_[i].input)];
    const auto reach = [&](std::int64_t side) {
      return in.border - layers_[i].padding + ceil_div(side, kWinogradTile) * kWinogradTile + 2;
    };
    in.rows = std::max(in.rows, reach(registers_[i].shape.height));
    in.columns = std::max(in.columns, reach(registers_[i].shape.width));
  }
}

void Network::find_streamed() {
  streamed_.assign(layers_.size(), false);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const auto own = static_cast<std::int64_t>(i);
    const bool is_output = std::find(outputs_.begin(), outputs_.end(), own) != outputs_.end();
    bool fits = layers_[i].kind == LayerKind::kFrames && !registers_[i].kept && !is_output;
    std::int64_t readers = 0;
    for (const Layer& reader : layers_) {
      if (reader.input != own && reader.other != own && reader.condition != own) continue;
      ++readers;
      fits &= reader.kind == LayerKind::kConvolution && reader.other != own && reader.condition != own &&
              reader.kernel == 1 && reader.stride == 1 && reader.padding == 0;
    }
    streamed_[i] = fits && readers == 1;
    if (streamed_[i]) registers_[i].rows = 1;
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
