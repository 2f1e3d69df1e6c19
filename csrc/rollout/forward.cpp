#include "rollout/forward.h"

#include <algorithm>

#include "rollout/kernels.h"

namespace mbpo_fast {

namespace {

std::int64_t scratch_of(const Network& network, std::size_t index, std::int64_t most_rows) {
  const Layer& layer = network.layers()[index];
  const Register& own = network.registers()[index];
  if (layer.kind == LayerKind::kMeans) return own.shape.size();
  if (network.is_winograd(index)) {
    return winograd_scratch(network.registers()[static_cast<std::size_t>(layer.input)].step);
  }
  return (layer.kind == LayerKind::kLinear ? 2 * most_rows : 4) * own.step;
}

}  // namespace

Forward::Forward(const Network& network, std::int64_t most_rows) : network_(network) {
  std::int64_t floats = 0, scratch = 0, widest = 0, cells = 0, multiplied = 0;
  for (std::size_t i = 0; i < network.layers().size(); ++i) {
    const Register& own = network.registers()[i];
    start_.push_back(floats);
    scratch = std::max(scratch, scratch_of(network, i, most_rows));
    widest = std::max(widest, own.step);
    if (network.is_bf16(i) && !network.is_winograd(i)) {
      const std::int64_t in = place(network.layers()[i].input).size();
      multiplied = std::max(multiplied, in * (network.is_batched(i) ? most_rows : 1));
    }
    if (network.layers()[i].kind == LayerKind::kMeans)
      cells = std::max(cells, own.shape.height * own.shape.width);
    if (network.layers()[i].kind == LayerKind::kConstant) continue;
    floats += own.size() * (own.kept ? most_rows : 1);
    floats = whole_units(floats);
  }
  memory_.resize(static_cast<std::size_t>(floats));
  cell_sums_.resize(static_cast<std::size_t>(2 * cells));
  scratch_.resize(static_cast<std::size_t>(scratch));
  scales_.resize(static_cast<std::size_t>(2 * whole_units(widest)));
  bf16_.resize(static_cast<std::size_t>(multiplied));
}

const Register& Forward::place(std::int64_t reg) const {
  return network_.registers()[static_cast<std::size_t>(reg)];
}

// The first cell of a register for the block's i-th row.
const float* Forward::at(std::int64_t reg, std::int64_t i) const {
  const auto index = static_cast<std::size_t>(reg);
  const Register& own = place(reg);
  if (network_.layers()[index].kind == LayerKind::kConstant) {
    return network_.packed(member_)[index].weight.data() + own.start();
  }
  return memory_.data() + start_[index] + (own.kept ? i * own.size() : 0) + own.start();
}

float* Forward::own(std::size_t layer, std::int64_t i) {
  const Register& own = network_.registers()[layer];
  return memory_.data() + start_[layer] + (own.kept ? i * own.size() : 0) + own.start();
}

MapView Forward::view(std::int64_t reg, std::int64_t i) const {
  const Register& own = place(reg);
  return {at(reg, i), own.line(), own.step, own.shape.height, own.shape.width};
}

const float* Forward::output(std::size_t which, std::int64_t i) const {
  return at(network_.outputs()[which], i);
}

const Register& Forward::output_register(std::size_t which) const {
  return place(network_.outputs()[which]);
}

void Forward::run(const RowBlock& block, const std::function<void(std::int64_t)>& consume) {
  const auto rows = static_cast<std::int64_t>(block.rows.size());
  const std::size_t layers = network_.layers().size();
  member_ = block.member;
  for (std::size_t first = 0, end; first < layers; first = end) {
    end = first + 1;
    const bool batched = network_.is_batched(first);
    if (batched) {
      linear(first, block, 0, rows);
    } else {
      while (end < layers && !network_.is_batched(end)) ++end;
    }
    const bool is_last = end == layers;
    if (batched && !is_last) continue;
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::size_t layer = first; layer < end && !batched; ++layer) run_layer(layer, block, i);
      if (is_last) consume(i);
    }
  }
}

void Forward::run_layer(std::size_t index, const RowBlock& block, std::int64_t i) {
  switch (network_.layers()[index].kind) {
    case LayerKind::kFrames:
      if (network_.is_streamed(index)) return;
      return cells(index, block, i, 0, network_.registers()[index].shape.height);
    case LayerKind::kMeans:
      return means(index, block, i);
    case LayerKind::kConvolution:
      return convolve(index, block, i);
    case LayerKind::kLinear:
      return linear(index, block, i, 1);
    case LayerKind::kNorm:
      return normalise(index, block, i);
    case LayerKind::kActivation:
    case LayerKind::kClamp:
    case LayerKind::kMaxPool:
      return map_cells(index, block, i);
    case LayerKind::kConcat:
      return concatenate(index, i);
    case LayerKind::kPool:
      return pool(index, i);
    case LayerKind::kDepthToSpace:
      return depth_to_space(index, i);
    case LayerKind::kExpectation:
      return expectation(index, block, i);
    case LayerKind::kConstant:
      return;
  }
}

void Forward::means(std::size_t index, const RowBlock& block, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const NetworkInput& in = network_.input();
  const Register& to = network_.registers()[index];
  const std::int64_t count = layer.channels + layer.option;
  const std::uint8_t* context = block.frames[block.rows[static_cast<std::size_t>(i)]];
  network_.kernels().means({context + (in.context - count) * in.height * in.width, count, in.height, in.width,
                            layer.kernel, layer.option == 1, own(index, i), to.line(), to.step,
                            cell_sums_.data(), scratch_.data()});
}

// `count` lines of cells from the `first`, at the register's beginning.
void Forward::cells(std::size_t index, const RowBlock& block, std::int64_t i, std::int64_t first,
                    std::int64_t count) {
  const Layer& layer = network_.layers()[index];
  const NetworkInput& in = network_.input();
  const Register& to = network_.registers()[index];
  const AlignedFloats& scale = network_.packed(block.member)[index].weight;
  const std::int64_t frame = in.height * in.width;
  const std::uint8_t* context = block.frames[block.rows[static_cast<std::size_t>(i)]];
  const std::uint8_t* newest = context + (in.context - layer.channels) * frame;
  network_.kernels().cells({newest + first * layer.kernel * in.width, layer.channels, frame,
                            count * layer.kernel, in.width, layer.kernel, scale[0], scale[1],
                            layer.option == 1, own(index, i), to.line(), to.step});
}

// Scales, then shifts, for the action of the block's i-th row; the bias is among the shifts.
const float* Forward::film(std::size_t index, const RowBlock& block, std::int64_t i) const {
  const Layer& layer = network_.layers()[index];
  const AlignedFloats& films = network_.packed(block.member)[index].film;
  if (layer.film == kNone) return films.data();
  const std::int64_t action = block.action[block.rows[static_cast<std::size_t>(i)]];
  return films.data() + action * (static_cast<std::int64_t>(films.size()) / network_.input().actions);
}

// The same with the row's condition on top.
const float* Forward::scales(std::size_t index, const RowBlock& block, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const float* plain = film(index, block, i);
  if (layer.condition == kNone) return plain;
  const float* condition = at(layer.condition, i);
  const std::int64_t stored = network_.stored_scales(index), channels = layer.channels;
  std::copy_n(plain, 2 * stored, scales_.data());
  for (std::int64_t c = 0; c < channels; ++c) {
    const float scale = 1.0f + condition[c];
    scales_[static_cast<std::size_t>(c)] *= scale;
    float& shift = scales_[static_cast<std::size_t>(stored + c)];
    shift = shift * scale + condition[channels + c];
  }
  return scales_.data();
}

void Forward::convolve(std::size_t index, const RowBlock& block, std::int64_t i) {
  const Layer& layer = network_.layers()[index];
  const Register &to = network_.registers()[index], &in = place(layer.input);
  const float* from = at(layer.input, i) - layer.padding * (in.line() + in.step);
  const std::int64_t skipped = layer.option;
  const float* scale = scales(index, block, i);
  Epilogue epilogue{scale, scale + to.step, 0, nullptr, 0, 0, layer.activation == Activation::kRelu};
  if (layer.other != kNone) {
    const MapView other = view(layer.other, i);
    epilogue.residual = other.in, epilogue.residual_line = other.in_line, epilogue.residual_step = other.step;
  }
  if (network_.is_streamed(static_cast<std::size_t>(layer.input))) return stream(index, block, i, epilogue);
  float* out = own(index, i);
  const float* weight = network_.packed(block.member)[index].weight.data();
  if (network_.is_winograd(index)) {
    winograd_sum(index, {from + skipped, in.line(), in.step, in.step - skipped, weight, out, to.line(),
                         to.step, to.shape.height, to.shape.width, to.step, epilogue, scratch_.data()});
    return;
  }
  window_sum(index,
             {from, layer.stride * in.line(), layer.stride * in.step, layer.kernel, in.line(),
              layer.kernel * in.step, weight, out, to.line(), to.step, to.shape.height, to.shape.width,
              to.step, epilogue},
             at(layer.input, i) - in.start(), in.size());
}

// A sum over the `count` numbers from `begin` on.
void Forward::window_sum(std::size_t index, const WindowSum<float>& call, const float* begin,
                         std::int64_t count) {
  if (!network_.is_bf16(index)) return network_.kernels().window_sum(call);
  network_.kernels().to_bf16(begin, count, bf16_.data());
  network_.kernels().window_sum_bf16(
      {bf16_.data() + (call.in - begin), call.in_line, call.in_step, call.window_lines, call.window_line,
       call.run, network_.packed(member_)[index].weight_bf16.data(), call.out, call.out_line, call.out_step,
       call.height, call.width, call.channels, call.epilogue});
}

void Forward::winograd_sum(std::size_t index, const WinogradSum<float>& call) {
  if (!network_.is_bf16(index)) return network_.kernels().winograd_sum(call);
  network_.kernels().winograd_sum_bf16({call.in, call.in_line, call.in_step, call.in_channels,
                                        network_.packed(member_)[index].weight_bf16.data(), call.out,
                                        call.out_line, call.out_step, call.height, call.width, call.channels,
                                        call.epilogue, call.scratch});
}

// A 1x1 convolution over cells that are made for one line at a time, and stay in the nearest cache.
void Forward::stream(std::size_t index, const RowBlock& block, std::int64_t i, const Epilogue& epilogue) {
  const Layer& layer = network_.layers()[index];
  const Register &to = network_.registers()[index], &in = place(layer.input);
  const float* weight = network_.packed(block.member)[index].weight.data();
  Epilogue line = epilogue;
  for (std::int64_t y = 0; y < to.shape.height; ++y) {
    cells(static_cast<std::size_t>(layer.input), block, i, y, 1);
    const float* cells_of_line = at(layer.input, i);
    window_sum(index,
               {cells_of_line, in.line(), in.step, 1, in.line(), in.step, weight,
                own(index, i) + y * to.line(), to.line(), to.step, 1, to.shape.width, to.step, line},
               cells_of_line - in.start(), in.size());
    if (line.residual) line.residual += line.residual_line;
  }
}

// `count` rows of the block from its `first`.
void Forward::linear(std::size_t index, const RowBlock& block, std::int64_t first, std::int64_t count) {
  const Layer& layer = network_.layers()[index];
  const Register &to = network_.registers()[index], &in = place(layer.input);
  const float* scale = film(index, block, first);
  Epilogue epilogue{scale, scale + to.step, 0, nullptr, 0, 0, layer.activation == Activation::kRelu};
  if (layer.film != kNone) {
    float* by_row = scratch_.data();
    for (std::int64_t i = 0; i < count; ++i)
      std::copy_n(film(index, block, first + i), 2 * to.step, by_row + 2 * i * to.step);
    epilogue.scale = by_row, epilogue.shift = by_row + to.step, epilogue.affine_step = 2 * to.step;
  }
  window_sum(index,
             {at(layer.input, first), 0, in.size(), in.shape.height, in.line(), in.shape.width * in.step,
              network_.packed(block.member)[index].weight.data(), own(index, first), 0, to.size(), 1, count,
              to.step, epilogue},
             at(layer.input, first) - in.start(), count * in.size());
}

}  // namespace mbpo_fast
