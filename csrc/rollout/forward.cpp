#include "rollout/forward.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "rollout/kernels.h"

namespace mbpo_fast {

namespace {

constexpr float kNormEpsilon = 1e-5f;

std::int64_t scratch_of(const Network& network, std::int64_t most_rows) {
  std::int64_t most = 0;
  for (std::size_t i = 0; i < network.layers().size(); ++i) {
    const Layer& layer = network.layers()[i];
    const std::int64_t step = network.registers()[i].step;
    if (network.is_winograd(i)) {
      const std::int64_t in = network.registers()[static_cast<std::size_t>(layer.input)].step;
      most = std::max(most, winograd_scratch(in));
    }
    most = std::max(most, (layer.kind == LayerKind::kLinear ? 2 * most_rows : 4) * step);
  }
  return most;
}

}  // namespace

Forward::Forward(const Network& network, std::int64_t most_rows) : network_(network) {
  std::int64_t floats = 0;
  for (const Register& own : network.registers()) {
    start_.push_back(floats);
    floats += own.size() * (own.kept ? most_rows : 1);
    floats = (floats + 15) / 16 * 16;
  }
  memory_.resize(static_cast<std::size_t>(floats));
  scratch_.resize(static_cast<std::size_t>(scratch_of(network, most_rows)));
}

// The first cell of a register for the block's i-th row.
float* Forward::at(std::int64_t reg, std::int64_t i) const {
  const auto index = static_cast<std::size_t>(reg);
  const Register& own = network_.registers()[index];
  const std::int64_t offset = start_[index] + (own.kept ? i * own.size() : 0) + own.start();
  return const_cast<float*>(memory_.data()) + offset;
}

const float* Forward::output(std::size_t which, std::int64_t i) const {
  return at(network_.outputs()[which], i);
}

const Register& Forward::output_register(std::size_t which) const {
  return network_.registers()[static_cast<std::size_t>(network_.outputs()[which])];
}

void Forward::run(const RowBlock& block, const std::function<void(std::int64_t)>& consume) {
  const auto rows = static_cast<std::int64_t>(block.rows.size());
  const std::vector<Layer>& layers = network_.layers();
  const auto is_linear = [&](std::size_t i) { return layers[i].kind == LayerKind::kLinear; };
  for (std::size_t first = 0, end; first < layers.size(); first = end) {
    end = first + 1;
    if (is_linear(first)) {
      linear(first, block);
    } else {
      while (end < layers.size() && !is_linear(end)) ++end;
    }
    const bool is_last = end == layers.size();
    if (is_linear(first) && !is_last) continue;
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::size_t layer = first; layer < end && !is_linear(layer); ++layer) run_layer(layer, block, i);
      if (is_last) consume(i);
    }
  }
}

void Forward::run_layer(std::size_t index, const RowBlock& block, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  switch (layer.kind) {
    case LayerKind::kFrames: {
      const NetworkInput& in = network_.input();
      const std::int64_t frame = in.height * in.width;
      const std::int64_t skipped = in.context - layer.channels;
      const std::uint8_t* frames = block.frames[block.rows[static_cast<std::size_t>(i)]] + skipped * frame;
      const Register& own = network_.registers()[index];
      const std::vector<float>& scales = network_.packed(block.member)[index].weight;
      network_.kernels().cells({frames, layer.channels, in.height, in.width, layer.kernel, scales[0],
                                scales[1], layer.option == 1, at(static_cast<std::int64_t>(index), i),
                                own.line(), own.step});
      break;
    }
    case LayerKind::kConvolution:
      return convolve(index, block, i);
    case LayerKind::kNorm:
      return normalise(index, block, i);
    case LayerKind::kActivation:
      return rectify(index, i);
    case LayerKind::kPool:
      pool(index, i);
      break;
    case LayerKind::kDepthToSpace:
      depth_to_space(index, i);
      break;
    case LayerKind::kExpectation:
      expectation(index, block, i);
      break;
    case LayerKind::kLinear:
      break;
  }
  if (layer.activation == Activation::kRelu) {
    const Register& own = network_.registers()[index];
    float* out = at(static_cast<std::int64_t>(index), i);
    network_.kernels().rectify({out, own.line(), own.step, own.shape.height, own.shape.width}, out,
                               own.line());
  }
}

// Scales, then shifts, for the action of the block's i-th row.
const float* Forward::film(std::size_t index, const RowBlock& block, std::int64_t i) const {
  const Layer& layer = network_.layers()[index];
  const std::vector<float>& films = network_.packed(block.member)[index].film;
  if (layer.film == kNone) return films.data();
  const std::int64_t action = block.action[block.rows[static_cast<std::size_t>(i)]];
  return films.data() + action * (static_cast<std::int64_t>(films.size()) / network_.input().actions);
}

void Forward::convolve(std::size_t index, const RowBlock& block, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const Register& own = network_.registers()[index];
  const Register& in = network_.registers()[static_cast<std::size_t>(layer.input)];
  const float* from = at(layer.input, i) - layer.padding * (in.line() + in.step);
  const std::int64_t skipped = layer.option;
  const float* scales = film(index, block, i);
  Epilogue epilogue{scales, scales + own.step, 0, nullptr, 0, 0, layer.activation == Activation::kRelu};
  if (layer.other != kNone) {
    const Register& other = network_.registers()[static_cast<std::size_t>(layer.other)];
    epilogue.residual = at(layer.other, i);
    epilogue.residual_line = other.line(), epilogue.residual_step = other.step;
  }
  float* out = at(static_cast<std::int64_t>(index), i);
  const float* weight = network_.packed(block.member)[index].weight.data();
  if (network_.is_winograd(index)) {
    network_.kernels().winograd_sum({from + skipped, in.line(), in.step, in.step - skipped, weight, out,
                                     own.line(), own.step, own.shape.height, own.shape.width, own.step,
                                     epilogue, scratch_.data()});
    return;
  }
  network_.kernels().window_sum({from, layer.stride * in.line(), layer.stride * in.step, layer.kernel,
                                 in.line(), layer.kernel * in.step, weight, out, own.line(), own.step,
                                 own.shape.height, own.shape.width, own.step, epilogue});
}

void Forward::linear(std::size_t index, const RowBlock& block) {
  const Layer& layer = network_.layers()[index];
  const Register& own = network_.registers()[index];
  const Register& in = network_.registers()[static_cast<std::size_t>(layer.input)];
  const auto rows = static_cast<std::int64_t>(block.rows.size());
  const float* scales = film(index, block, 0);
  Epilogue epilogue{scales, scales + own.step, 0, nullptr, 0, 0, layer.activation == Activation::kRelu};
  if (layer.film != kNone) {
    float* by_row = scratch_.data();
    for (std::int64_t i = 0; i < rows; ++i)
      std::copy_n(film(index, block, i), 2 * own.step, by_row + 2 * i * own.step);
    epilogue.scale = by_row, epilogue.shift = by_row + own.step, epilogue.affine_step = 2 * own.step;
  }
  network_.kernels().window_sum({at(layer.input, 0), 0, in.size(), in.shape.height, in.line(),
                                 in.shape.width * in.step, network_.packed(block.member)[index].weight.data(),
                                 at(static_cast<std::int64_t>(index), 0), 0, own.size(), 1, rows, own.step,
                                 epilogue});
}

void Forward::normalise(std::size_t index, const RowBlock& block, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const Register& own = network_.registers()[index];
  const Register& in = network_.registers()[static_cast<std::size_t>(layer.input)];
  const PackedLayer& packed = network_.packed(block.member)[index];
  const MapView map{at(layer.input, i), in.line(), in.step, in.shape.height, in.shape.width};
  const std::int64_t channels = in.shape.channels, width = channels / layer.option;
  float *sums = scratch_.data(), *centres = sums + in.step, *scale = centres + in.step,
        *shift = scale + in.step;
  const auto group_mean = [&](std::int64_t group) {
    double sum = 0.0;
    for (std::int64_t c = group * width; c < (group + 1) * width; ++c) sum += static_cast<double>(sums[c]);
    return static_cast<float>(sum / static_cast<double>(width * in.shape.height * in.shape.width));
  };
  std::fill_n(scale, 2 * in.step, 0.0f);
  network_.kernels().channel_sums(map, sums);
  std::fill_n(centres, in.step, 0.0f);
  for (std::int64_t c = 0; c < channels; ++c) centres[c] = group_mean(c / width);
  network_.kernels().channel_squares(map, centres, sums);
  const float* films = film(index, block, i);
  const auto stored = static_cast<std::int64_t>(packed.weight.size());
  for (std::int64_t c = 0; c < channels; ++c) {
    const float gain =
        packed.weight[static_cast<std::size_t>(c)] / std::sqrt(group_mean(c / width) + kNormEpsilon);
    scale[c] = gain * films[c];
    shift[c] = (packed.bias[static_cast<std::size_t>(c)] - centres[c] * gain) * films[c] + films[stored + c];
  }
  network_.kernels().affine(map, scale, shift, layer.activation == Activation::kRelu,
                            at(static_cast<std::int64_t>(index), i), own.line());
}

void Forward::rectify(std::size_t index, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const Register& in = network_.registers()[static_cast<std::size_t>(layer.input)];
  const Register& own = network_.registers()[index];
  const float* from = at(layer.input, i);
  float* to = at(static_cast<std::int64_t>(index), i);
  if (layer.activation == Activation::kRelu) {
    network_.kernels().rectify({from, in.line(), in.step, in.shape.height, in.shape.width}, to, own.line());
    return;
  }
  for (std::int64_t y = 0; y < in.shape.height; ++y) {
    std::copy_n(from + y * in.line(), in.shape.width * in.step, to + y * own.line());
  }
}

void Forward::pool(std::size_t index, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const Register& in = network_.registers()[static_cast<std::size_t>(layer.input)];
  const RolloutKernels& kernels = network_.kernels();
  const MapView map{at(layer.input, i), in.line(), in.step, in.shape.height, in.shape.width};
  const auto cells = static_cast<float>(in.shape.height * in.shape.width);
  float* out = at(static_cast<std::int64_t>(index), i);
  float *sums = scratch_.data(), *most = sums + in.step;
  if (layer.option == 0) {
    kernels.channel_sums(map, sums);
    for (std::int64_t c = 0; c < in.shape.channels; ++c) out[c] = sums[c] / cells;
    return;
  }
  kernels.channel_maxima(map, most);
  if (layer.option == 2) kernels.channel_exponentials(map, most, sums);
  for (std::int64_t c = 0; c < in.shape.channels; ++c) {
    out[c] = layer.option == 1 ? most[c] : most[c] + std::log(sums[c] / cells);
  }
}

void Forward::depth_to_space(std::size_t index, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const Register& own = network_.registers()[index];
  const Register& in = network_.registers()[static_cast<std::size_t>(layer.input)];
  const std::int64_t block = layer.kernel;
  const float* from = at(layer.input, i);
  float* to = at(static_cast<std::int64_t>(index), i);
  for (std::int64_t y = 0; y < own.shape.height; ++y) {
    for (std::int64_t x = 0; x < own.shape.width; ++x) {
      const float* cell = from + y / block * in.line() + x / block * in.step + y % block * block + x % block;
      for (std::int64_t c = 0; c < own.shape.channels; ++c) {
        to[y * own.line() + x * own.step + c] = cell[c * block * block];
      }
    }
  }
}

void Forward::expectation(std::size_t index, const RowBlock& block, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const std::vector<float>& atoms = network_.packed(block.member)[index].weight;
  const float* logits = at(layer.input, i);
  float* out = at(static_cast<std::int64_t>(index), i);
  for (std::int64_t c = 0; c < layer.channels; ++c, logits += layer.option) {
    const float most = *std::max_element(logits, logits + layer.option);
    float mass = 0.0f, sum = 0.0f;
    for (std::int64_t a = 0; a < layer.option; ++a) {
      const float weight = std::exp(logits[a] - most);
      mass += weight;
      sum += weight * atoms[static_cast<std::size_t>(a)];
    }
    out[c] = sum / mass;
  }
}

}  // namespace mbpo_fast
