// The layers of `Forward` that are no sums over channels.
#include <algorithm>
#include <cmath>

#include "rollout/forward.h"

namespace mbpo_fast {

void Forward::map_cells(std::size_t index, const RowBlock& block, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const Register& to = network_.registers()[index];
  const RolloutKernels& kernels = network_.kernels();
  const MapView map = view(layer.input, i);
  float* out = own(index, i);
  const bool relu = layer.activation == Activation::kRelu;
  if (layer.kind == LayerKind::kClamp) {
    const AlignedFloats& bounds = network_.packed(block.member)[index].weight;
    kernels.clamp(map, bounds[0], bounds[1], out, to.line());
  } else if (layer.kind == LayerKind::kMaxPool) {
    kernels.max_pool(
        {map, layer.kernel, layer.stride, layer.padding, out, to.line(), to.shape.height, to.shape.width});
  } else if (layer.other != kNone) {
    kernels.add(map, view(layer.other, i), relu, out, to.line());
  } else if (relu) {
    kernels.rectify(map, out, to.line());
  } else {
    for (std::int64_t y = 0; y < map.height; ++y) {
      std::copy_n(map.in + y * map.in_line, map.width * map.step, out + y * to.line());
    }
  }
}

void Forward::concatenate(std::size_t index, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const Register& to = network_.registers()[index];
  float* out = own(index, i);
  for (const std::int64_t part : {layer.input, layer.other}) {
    const MapView map = view(part, i);
    const std::int64_t channels = place(part).shape.channels;
    for (std::int64_t y = 0; y < map.height; ++y) {
      for (std::int64_t x = 0; x < map.width; ++x) {
        std::copy_n(map.in + y * map.in_line + x * map.step, channels, out + y * to.line() + x * to.step);
      }
    }
    out += channels;
  }
}

void Forward::normalise(std::size_t index, const RowBlock& block, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const Register& to = network_.registers()[index];
  const PackedLayer& packed = network_.packed(block.member)[index];
  const MapView map = view(layer.input, i);
  const std::int64_t channels = to.shape.channels, width = channels / layer.option;
  float *sums = scratch_.data(), *centres = sums + map.step, *scale = centres + map.step,
        *shift = scale + map.step;
  const auto group_mean = [&](std::int64_t group) {
    double sum = 0.0;
    for (std::int64_t c = group * width; c < (group + 1) * width; ++c) sum += static_cast<double>(sums[c]);
    return static_cast<float>(sum / static_cast<double>(width * map.height * map.width));
  };
  std::fill_n(scale, 2 * map.step, 0.0f);
  network_.kernels().channel_sums(map, sums);
  std::fill_n(centres, map.step, 0.0f);
  for (std::int64_t c = 0; c < channels; ++c) centres[c] = group_mean(c / width);
  network_.kernels().channel_squares(map, centres, sums);
  const float* films = scales(index, block, i);
  const std::int64_t stored = network_.stored_scales(index);
  for (std::int64_t c = 0; c < channels; ++c) {
    const float gain =
        packed.weight[static_cast<std::size_t>(c)] / std::sqrt(group_mean(c / width) + kNormEpsilon);
    scale[c] = gain * films[c];
    shift[c] = (packed.bias[static_cast<std::size_t>(c)] - centres[c] * gain) * films[c] + films[stored + c];
  }
  network_.kernels().affine(map, scale, shift, layer.activation == Activation::kRelu, own(index, i),
                            to.line());
}

void Forward::pool(std::size_t index, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const RolloutKernels& kernels = network_.kernels();
  MapView band = view(layer.input, i);
  band.height /= layer.kernel;
  const std::int64_t channels = place(layer.input).shape.channels;
  const auto cells = static_cast<float>(band.height * band.width);
  float *sums = scratch_.data(), *most = sums + band.step;
  float* const end = own(index, i) + layer.kernel * channels;
  for (float* out = own(index, i); out != end; out += channels, band.in += band.height * band.in_line) {
    if (layer.option == 0 || layer.option == 3) {
      (layer.option == 0 ? kernels.channel_sums : kernels.channel_magnitudes)(band, sums);
      for (std::int64_t c = 0; c < channels; ++c) out[c] = sums[c] / cells;
      continue;
    }
    kernels.channel_maxima(band, most);
    if (layer.option == 2) kernels.channel_exponentials(band, most, sums);
    for (std::int64_t c = 0; c < channels; ++c) {
      out[c] = layer.option == 1 ? most[c] : most[c] + std::log(sums[c] / cells);
    }
  }
}

void Forward::depth_to_space(std::size_t index, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const Register &to = network_.registers()[index], &in = place(layer.input);
  const std::int64_t block = layer.kernel;
  const float* from = at(layer.input, i);
  float* out = own(index, i);
  for (std::int64_t y = 0; y < to.shape.height; ++y) {
    for (std::int64_t x = 0; x < to.shape.width; ++x) {
      const float* cell = from + y / block * in.line() + x / block * in.step + y % block * block + x % block;
      for (std::int64_t c = 0; c < to.shape.channels; ++c) {
        out[y * to.line() + x * to.step + c] = cell[c * block * block];
      }
    }
  }
}

void Forward::expectation(std::size_t index, const RowBlock& block, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const AlignedFloats& atoms = network_.packed(block.member)[index].weight;
  const float* logits = at(layer.input, i);
  float* out = own(index, i);
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
