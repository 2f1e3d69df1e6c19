#include "rollout/layer_rules.h"

#include <algorithm>

#include "core/check.h"
#include "rollout/kernels.h"

namespace mbpo_fast {

namespace {

constexpr std::int64_t kMaxSide = 1 << 14;
constexpr std::int64_t kMaxChannels = 1 << 20;
constexpr std::int64_t kMaxFloats = std::int64_t{1} << 28;  // of one register, 1 GiB

bool reads_a_register(LayerKind kind) {
  return kind != LayerKind::kFrames && kind != LayerKind::kMeans && kind != LayerKind::kConstant;
}

bool may_have_film(LayerKind kind) {
  return kind == LayerKind::kConvolution || kind == LayerKind::kLinear || kind == LayerKind::kNorm;
}

bool may_have_condition(LayerKind kind) {
  return kind == LayerKind::kConvolution || kind == LayerKind::kNorm;
}

bool is_sum(LayerKind kind) {
  return kind == LayerKind::kConvolution || kind == LayerKind::kLinear;
}

bool may_add(LayerKind kind) {
  return kind == LayerKind::kConvolution || kind == LayerKind::kActivation;
}

bool may_activate(LayerKind kind) {
  return may_have_film(kind) || may_add(kind);
}

// Registers that the layer names: all of them earlier ones.
void check_registers(const char* op, std::size_t index, const Layer& layer) {
  const auto where = [&](const char* what) { return text("layer ", index, " with ", what); };
  const auto is_earlier = [&](std::int64_t read) {
    return read >= 0 && read < static_cast<std::int64_t>(index);
  };
  const bool reads = reads_a_register(layer.kind);
  MBPO_CHECK(reads ? is_earlier(layer.input) : layer.input == kNone, op,
             where(reads ? "the register of an earlier layer as input" : "input -1"), layer.input);
  if (layer.kind == LayerKind::kConcat) {
    MBPO_CHECK(is_earlier(layer.other), op, where("the register of an earlier layer to append"), layer.other);
  } else {
    const bool adds = may_add(layer.kind);
    MBPO_CHECK(layer.other == kNone || (adds && is_earlier(layer.other)), op,
               where(adds ? "the register of an earlier layer, or -1, to add" : "nothing to add"),
               layer.other);
  }
  const bool steered = may_have_condition(layer.kind);
  MBPO_CHECK(layer.condition == kNone || (steered && is_earlier(layer.condition)), op,
             where(steered ? "the register of an earlier layer, or -1, as condition" : "no condition"),
             layer.condition);
}

Shape cells_of_frames(const char* op, const std::string& name, const Layer& layer,
                      const NetworkInput& input) {
  const std::int64_t cell = layer.kernel;
  const bool is_means = layer.kind == LayerKind::kMeans, is_constant = layer.kind == LayerKind::kConstant;
  MBPO_CHECK(layer.option == 0 || (!is_constant && layer.option == 1), op,
             text(name, is_constant ? " with option 0" : " with option 0 or 1"), layer.option);
  const std::int64_t frames = is_constant ? 0 : layer.channels + (is_means ? layer.option : 0);
  MBPO_CHECK(frames <= input.context, op, text(name, " of at most ", input.context, " frames"), frames);
  MBPO_CHECK(input.height % cell == 0 && input.width % cell == 0, op,
             text(name, " with cells that tile ", input.height, "x", input.width), cell);
  MBPO_CHECK(!is_means || cell <= kMaxMeanCell, op,
             text(name, " with cells of at most ", kMaxMeanCell, " pixels a side"), cell);
  const std::int64_t channels = layer.channels * (layer.kind == LayerKind::kFrames ? cell * cell : 1);
  return {input.height / cell, input.width / cell, channels};
}

// Positions of the window of a convolution or a pool.
Shape windows(const char* op, const std::string& name, const Layer& layer, const Shape& in) {
  const std::int64_t height = in.height + 2 * layer.padding - layer.kernel;
  const std::int64_t width = in.width + 2 * layer.padding - layer.kernel;
  MBPO_CHECK(height >= 0 && width >= 0, op, text(name, " with a kernel inside its input"),
             text(layer.kernel, " on ", shape_text(in), " padded by ", layer.padding));
  return {height / layer.stride + 1, width / layer.stride + 1, layer.channels};
}

Shape shape_of_input(const char* op, const std::string& name, const Layer& layer, const Shape& in,
                     std::span<const Register> earlier) {
  const auto what = [&](const auto&... parts) { return text(name, " ", parts...); };
  const std::int64_t area = layer.kernel * layer.kernel;
  switch (layer.kind) {
    case LayerKind::kConvolution:
      MBPO_CHECK(layer.option >= 0 && layer.option < in.channels && layer.option % kChannelUnit == 0, op,
                 what("that skips a multiple of 16 below ", in.channels, " channels"), layer.option);
      return windows(op, name, layer, in);
    case LayerKind::kLinear:
      return {1, 1, layer.channels};
    case LayerKind::kNorm:
      MBPO_CHECK(layer.option >= 1 && in.channels % layer.option == 0, op,
                 what("with groups that divide ", in.channels, " channels"), layer.option);
      return in;
    case LayerKind::kConcat: {
      const Shape& other = earlier[static_cast<std::size_t>(layer.other)].shape;
      MBPO_CHECK(other.height == in.height && other.width == in.width, op,
                 what("of two maps of ", in.height, "x", in.width, " cells"), shape_text(other));
      return {in.height, in.width, in.channels + other.channels};
    }
    case LayerKind::kMaxPool:
      MBPO_CHECK(layer.padding < layer.kernel, op, what("with padding < kernel"), layer.padding);
      return {windows(op, name, layer, in).height, windows(op, name, layer, in).width, in.channels};
    case LayerKind::kPool:
      MBPO_CHECK(layer.option >= 0 && layer.option <= 3, op, what("with an option from 0 to 3"),
                 layer.option);
      MBPO_CHECK(in.height % layer.kernel == 0, op, what("with bands that divide ", in.height, " lines"),
                 layer.kernel);
      return {1, 1, layer.kernel * in.channels};
    case LayerKind::kDepthToSpace:
      MBPO_CHECK(in.channels % area == 0, op, what("of a multiple of ", area, " channels"), in.channels);
      return {in.height * layer.kernel, in.width * layer.kernel, in.channels / area};
    case LayerKind::kExpectation:
      MBPO_CHECK(layer.option >= 1 && layer.option <= kMaxChannels &&
                     in == (Shape{1, 1, layer.channels * layer.option}),
                 op, what("of [1,1,", layer.channels, " * ", layer.option, "]"), shape_text(in));
      return {1, 1, layer.channels};
    case LayerKind::kActivation:
    case LayerKind::kClamp:
    case LayerKind::kFrames:
    case LayerKind::kMeans:
    case LayerKind::kConstant:
      break;
  }
  return in;
}

}  // namespace

std::string shape_text(const Shape& shape) {
  return text("[", shape.height, ",", shape.width, ",", shape.channels, "]");
}

Layer read_layer(const char* op, std::size_t index, const std::int64_t* f) {
  const Layer layer{static_cast<LayerKind>(f[0]),  f[1], f[2],  f[3],  f[4],  f[5],      f[6], f[7],
                    static_cast<Activation>(f[8]), f[9], f[10], f[11], f[12], f[13] == 1};
  const auto where = [&](const char* what) { return text("layer ", index, " with ", what); };
  MBPO_CHECK(f[0] >= 0 && f[0] < kLayerKinds, op, text(where("a kind from 0 to "), kLayerKinds - 1), f[0]);
  const auto activation = static_cast<std::int64_t>(layer.activation);
  MBPO_CHECK(activation == 0 || activation == 1, op, where("activation 0 (none) or 1 (relu)"), activation);
  MBPO_CHECK(activation == 0 || may_activate(layer.kind), op, where("no activation"), activation);
  MBPO_CHECK(f[13] == 0 || (f[13] == 1 && is_sum(layer.kind)), op, where("bf16 0, or 1 for a sum"), f[13]);
  check_registers(op, index, layer);
  MBPO_CHECK(layer.film == kNone || may_have_film(layer.kind), op, where("no film"), layer.film);
  MBPO_CHECK(layer.channels >= 1 && layer.channels <= kMaxChannels, op, where("1 to 2**20 channels"),
             layer.channels);
  MBPO_CHECK(layer.kernel >= 1 && layer.kernel <= kMaxSide && layer.stride >= 1 && layer.stride <= kMaxSide &&
                 layer.padding >= 0 && layer.padding <= layer.kernel,
             op, where("kernel >= 1, stride >= 1, 0 <= padding <= kernel"),
             text(layer.kernel, ", ", layer.stride, ", ", layer.padding));
  return layer;
}

Shape shape_of_layer(const char* op, std::size_t index, const Layer& layer, std::span<const Register> earlier,
                     const NetworkInput& input) {
  const std::string name =
      text("layer ", index, " (", kLayerNames[static_cast<std::size_t>(layer.kind)], ")");
  const auto check_size = [&](const Shape& out) {
    MBPO_CHECK(std::max(out.height, out.width) <= kMaxSide &&
                   checked_product(op, {out.height, out.width, out.channels}) <= kMaxFloats,
               op, text(name, " of at most 2**28 numbers"), shape_text(out));
  };
  if (!reads_a_register(layer.kind)) {
    const Shape cells = cells_of_frames(op, name, layer, input);
    check_size(cells);
    return cells;
  }
  const Shape in = earlier[static_cast<std::size_t>(layer.input)].shape;
  const Shape out = shape_of_input(op, name, layer, in, earlier);
  MBPO_CHECK(out.channels == layer.channels, op, text(name, " with ", out.channels, " channels"),
             layer.channels);
  check_size(out);
  if (layer.other != kNone && layer.kind != LayerKind::kConcat) {
    const Shape& other = earlier[static_cast<std::size_t>(layer.other)].shape;
    MBPO_CHECK(other == out, op, text(name, " that adds a map ", shape_text(out)), shape_text(other));
  }
  if (layer.condition != kNone) {
    const Shape& condition = earlier[static_cast<std::size_t>(layer.condition)].shape;
    const Shape wanted{1, 1, 2 * out.channels};
    MBPO_CHECK(condition == wanted, op, text(name, " with a condition ", shape_text(wanted)),
               shape_text(condition));
  }
  return out;
}

LayerWeights count_weights(const char* op, const Layer& layer, const Shape& in, const Shape& own,
                           std::int64_t actions) {
  const std::int64_t out = layer.channels;
  const std::int64_t film = layer.film == kNone ? 0 : checked_product(op, {2, actions, out});
  switch (layer.kind) {
    case LayerKind::kFrames:
    case LayerKind::kClamp:
      return {2, 0, 0};
    case LayerKind::kConstant:
      return {own.size(), 0, 0};
    case LayerKind::kConvolution:
      return {checked_product(op, {out, layer.kernel, layer.kernel, in.channels - layer.option}), out, film};
    case LayerKind::kLinear:
      return {checked_product(op, {out, in.size()}), out, film};
    case LayerKind::kNorm:
      return {out, out, film};
    case LayerKind::kExpectation:
      return {layer.option, 0, 0};
    case LayerKind::kMeans:
    case LayerKind::kActivation:
    case LayerKind::kConcat:
    case LayerKind::kMaxPool:
    case LayerKind::kPool:
    case LayerKind::kDepthToSpace:
      break;
  }
  return {};
}

void check_weights(const char* op, std::size_t index, const Layer& layer, const LayerWeights& counts,
                   std::int64_t available) {
  const auto check = [&](const char* what, std::int64_t offset, std::int64_t count) {
    const bool fits = offset >= 0 && offset <= available && count <= available - offset;
    MBPO_CHECK(count ? fits : offset == kNone, op,
               text(count, " numbers of layer ", index, "'s ", what, " within ", available, " weights"),
               text("offset ", offset));
  };
  check("weight", layer.weight, counts.weight);
  check("bias", layer.bias, counts.bias);
  check("film", layer.film, counts.film);
}

}  // namespace mbpo_fast
