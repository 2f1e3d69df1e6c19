#include "rollout/gpu/register_plan.h"

#include <algorithm>

#include "rollout/gpu/numbers.h"

namespace mbpo_fast::gpu {

namespace {

// Maps of values that were maps before: bfloat16 is enough for them, and half as large.
bool is_copy(LayerKind kind) {
  return kind == LayerKind::kActivation || kind == LayerKind::kConcat || kind == LayerKind::kClamp ||
         kind == LayerKind::kMaxPool;
}

}  // namespace

RegisterPlan::RegisterPlan(const Network& network, Purpose purpose)
    : network_(network), purpose_(purpose), registers_(network.layers().size()) {
  find_segments();
  fold_activations();
  find_readers();
  prepare_sums();
  place_kept();
}

bool RegisterPlan::is_batched(std::int64_t reg) const {
  const Layer& own = layer(reg);
  if (own.kind != LayerKind::kLinear) return false;
  const bool is_small = own.channels * shape(own.input).size() <= kSmallLinear;
  return !is_small || is_batched(own.input);
}

std::optional<std::int64_t> RegisterPlan::output_place(std::int64_t reg) const {
  std::int64_t place = 0;
  for (std::size_t o = purpose_ == Purpose::kFrames; o < network_.outputs().size(); ++o) {
    if (network_.outputs()[o] == reg) return place;
    place += network_.output_shape(o).size();
  }
  return std::nullopt;
}

std::int64_t RegisterPlan::input_of(const Layer& layer_at) const {
  if (layer_at.input == kNone || !of(layer_at.input).is_folded) return layer_at.input;
  return layer(layer_at.input).input;
}

std::int64_t RegisterPlan::overwritten(const Layer& layer_at) const {
  if (layer_at.kind == LayerKind::kNorm) return layer_at.input;
  if (layer_at.kind != LayerKind::kConvolution || layer_at.other == input_of(layer_at)) return kNone;
  return is_constant(layer_at.other) ? kNone : layer_at.other;
}

void RegisterPlan::find_segments() {
  std::size_t segment = 0;
  for (std::int64_t i = 0; i < count(); ++i) {
    segment += is_batched(i) || (i > 0 && is_batched(i - 1));
    own(i).segment = segment;
  }
}

// An activation whose readers are convolutions of its own segment needs no map of its own.
void RegisterPlan::fold_activations() {
  for (std::int64_t i = 0; i < count(); ++i) {
    const Layer& at = layer(i);
    if (at.kind != LayerKind::kActivation || at.activation != Activation::kRelu) continue;
    if (std::ranges::count(network_.outputs(), i) > 0) continue;
    if (at.other != kNone || is_frames(at.input) || of(at.input).is_folded) continue;
    own(i).is_folded = folds(i);
  }
}

bool RegisterPlan::folds(std::int64_t reg) const {
  for (std::int64_t j = reg + 1; j < count(); ++j) {
    const Layer& reader = layer(j);
    if (reader.input != reg && reader.other != reg && reader.condition != reg) continue;
    if (reader.kind != LayerKind::kConvolution || reader.other == reg || reader.condition == reg)
      return false;
    if (of(j).segment != of(reg).segment) return false;
  }
  return true;
}

void RegisterPlan::find_readers() {
  for (std::int64_t i = 0; i < count(); ++i) {
    const Layer& at = layer(i);
    for (const std::int64_t reg : {input_of(at), at.other, at.condition}) {
      if (reg != kNone) own(reg).last_reader = index_of(i);
    }
    if (at.kind != LayerKind::kConvolution || is_frames(input_of(at))) continue;
    PlannedRegister& from = own(input_of(at));
    from.is_half = true;
    from.border = std::max(from.border, at.padding);
  }
  const std::vector<std::int64_t>& outputs = network_.outputs();
  for (std::int64_t i = 0; i < count(); ++i) {
    if (!is_copy(layer(i).kind) || shape(i).height * shape(i).width == 1) continue;
    own(i).is_half = true;
    const std::int64_t from = layer(i).input;
    const bool is_output = std::find(outputs.begin(), outputs.end(), from) != outputs.end();
    own(from).is_half |= !is_frames(from) && !is_output;
  }
}

// What nobody reads after it is written over is shaped like what takes its place.
void RegisterPlan::prepare_sums() {
  for (std::int64_t i = count(); i-- > 0;) {
    const std::int64_t reg = overwritten(layer(i));
    if (reg == kNone || is_frames(reg) || !of(i).is_half) continue;
    PlannedRegister& from = own(reg);
    if (from.last_reader != index_of(i) || (!from.is_half && layer(i).kind == LayerKind::kNorm)) continue;
    from.is_half = true;
    from.border = std::max(from.border, of(i).border);
  }
}

void RegisterPlan::place_kept() {
  for (std::int64_t i = 0; i < count(); ++i) {
    for (const std::int64_t read : {layer(i).input, layer(i).other, layer(i).condition}) {
      if (read == kNone) continue;
      const bool crosses = of(read).segment != of(i).segment;
      const bool is_laid_anew = (is_frames(read) || is_constant(read)) && !is_batched(i);
      if (crosses && !is_laid_anew) own(read).kept = 0;
    }
    if (is_batched(i)) own(i).kept = 0;
  }
  for (std::int64_t i = 0; i < count(); ++i) {
    if (of(i).kept == kNone) continue;
    own(i).kept = kept_of_row_;
    kept_of_row_ += whole(shape(i).size(), kDepth);
  }
  for (std::size_t o = purpose_ == Purpose::kFrames; o < network_.outputs().size(); ++o) {
    outputs_of_row_ += network_.output_shape(o).size();
  }
}

}  // namespace mbpo_fast::gpu
