#include "rollout/gpu/compile.h"

#include <algorithm>

#include "core/check.h"
#include "rollout/gpu/compiler.h"
#include "rollout/gpu/numbers.h"

namespace mbpo_fast::gpu {

Compiler::Compiler(const Network& network, const float* numbers, Purpose purpose, std::int64_t shared_limit)
    : network_(network),
      numbers_(numbers),
      purpose_(purpose),
      shared_limit_(shared_limit),
      plan_(network, purpose),
      map_of_(network.layers().size(), kAbsent) {}

Program Compiler::run() {
  for (std::int64_t reg = 0; reg < static_cast<std::int64_t>(layers().size()); ++reg) {
    if (plan_.is_batched(reg)) {
      close_segment();
      add_batched(reg);
    } else {
      add_layer(reg);
    }
  }
  close_segment();
  program_.kept_of_row = plan_.kept_of_row(), program_.outputs_of_row = plan_.outputs_of_row();
  program_.weights = writer_.take();
  program_.member_bytes = static_cast<std::int64_t>(program_.weights.size());
  return std::move(program_);
}

void Compiler::close_segment() {
  segment_.close(program_, shared_limit_);
  std::fill(map_of_.begin(), map_of_.end(), kAbsent);
}

Op Compiler::op_of(std::int64_t reg, OpKind kind) {
  const Layer& own = layer(reg);
  Op op{};
  op.kind = kind;
  op.kernel = narrow(own.kernel), op.stride = narrow(own.stride), op.padding = narrow(own.padding);
  op.option = narrow(own.option);
  op.relu = own.activation == Activation::kRelu;
  op.weight = op.bias = op.film = op.constant = kNone;
  if (own.film != kNone) {
    op.film = writer_.film(numbers_ + own.film, network_.input().actions, own.channels);
  }
  return op;
}

std::size_t Compiler::own_map(std::int64_t reg) {
  const PlannedRegister& own = plan_.of(reg);
  return map_of(reg) = segment_.new_map(shape(reg), own.border, !own.is_half);
}

// The map that a layer writes: a new one, or one that nobody else needs any more.
std::size_t Compiler::out_map(std::int64_t reg) {
  const std::int64_t over = plan_.overwritten(layer(reg));
  if (over == kNone) return own_map(reg);
  const PlannedRegister &from = plan_.of(over), &own = plan_.of(reg);
  const bool fits = map_of(over) != kAbsent && from.last_reader == index_of(reg) &&
                    from.is_half == own.is_half && from.border >= own.border;
  return fits ? map_of(reg) = map_of(over) : own_map(reg);
}

// The map of a register: of this segment, of kept values, or of frames.
std::size_t Compiler::read(std::int64_t reg) {
  if (map_of(reg) != kAbsent) return map_of(reg);
  if (plan_.is_frames(reg)) {
    Draft draft = frames_draft(reg, 0, layer(reg).channels, 0);
    std::copy_n(numbers_ + layer(reg).weight, 2, draft.op.numbers);
    map_of(reg) = draft.out = segment_.new_map(shape(reg), 0, true);
    segment_.add(draft);
    return draft.out;
  }
  Draft draft{op_of(reg, plan_.is_constant(reg) ? OpKind::kConstant : OpKind::kLoad)};
  if (plan_.is_constant(reg)) {
    draft.op.weight = pack_constant(reg);
  } else {
    draft.op.film = kNone;
    draft.op.place = plan_.of(reg).kept;
  }
  draft.out = own_map(reg);
  segment_.add(draft);
  return draft.out;
}

Draft Compiler::frames_draft(std::int64_t reg, std::int64_t first, std::int64_t frames, std::int64_t border) {
  const Layer& own = layer(reg);
  Draft draft{op_of(reg, OpKind::kFrames)};
  draft.op.first = narrow(first), draft.op.count = narrow(own.channels);
  draft.op.numbers[0] = draft.op.numbers[1] = 1.0f;
  const Shape& all = shape(reg);
  draft.out = segment_.new_map({all.height, all.width, frames * own.kernel * own.kernel}, border, false);
  return draft;
}

void Compiler::add_layer(std::int64_t reg) {
  if (plan_.of(reg).is_folded) return;
  if (layer(reg).kind == LayerKind::kConvolution) {
    add_convolution(reg);
  } else if (!plan_.is_frames(reg) && !plan_.is_constant(reg)) {
    add_plain(reg);
  }
  finish(reg);
}

// A layer without a matrix product: float32 weights, if any.
void Compiler::add_plain(std::int64_t reg) {
  const Layer& own = layer(reg);
  Draft draft{op_of(reg, op_kind(own.kind))};
  if (own.input != kNone) draft.in = read(own.input);
  steer(own, draft);
  pack_plain(own, draft.op);
  draft.out = out_map(reg);
  segment_.add(draft);
}

void Compiler::pack_plain(const Layer& own, Op& op) {
  const std::int64_t channels = own.channels, padded = padded_channels(narrow(channels));
  const float* weight = numbers_ + own.weight;
  if (own.kind == LayerKind::kLinear) {
    const std::int64_t depth = shape(own.input).size();
    op.weight = writer_.floats(weight, channels, depth, depth);
  } else if (own.kind == LayerKind::kNorm) {
    op.weight = writer_.floats(weight, 1, channels, padded);
  } else if (own.kind == LayerKind::kExpectation) {
    op.weight = writer_.floats(weight, 1, own.option, own.option);
  } else if (own.kind == LayerKind::kClamp) {
    std::copy_n(weight, 2, op.numbers);
  }
  if (own.bias != kNone) op.bias = writer_.floats(numbers_ + own.bias, 1, channels, padded);
}

// The other registers that a layer reads; a constant map is added from its weights.
void Compiler::steer(const Layer& own, Draft& draft) {
  if (own.condition != kNone) draft.condition = read(own.condition);
  if (plan_.is_constant(own.other) && own.kind != LayerKind::kConcat) {
    draft.op.constant = pack_constant(own.other);
  } else if (own.other != kNone) {
    draft.other = read(own.other);
  }
}

std::int64_t Compiler::pack_constant(std::int64_t reg) {
  const std::int64_t size = shape(reg).size();
  return writer_.floats(numbers_ + layer(reg).weight, 1, size, size);
}

// What a layer's register is wanted for outside of its segment.
void Compiler::finish(std::int64_t reg) {
  if (plan_.of(reg).kept != kNone) {
    Draft store{op_of(reg, OpKind::kStore)};
    store.op.place = plan_.of(reg).kept, store.op.film = kNone;
    store.in = read(reg);
    segment_.add(store);
  }
  std::int64_t place = 0;
  for (std::size_t o = 0; o < network_.outputs().size(); ++o) {
    const bool is_change = purpose_ == Purpose::kFrames && o == 0;
    if (network_.outputs()[o] == reg) {
      Draft draft{op_of(reg, is_change ? OpKind::kChange : OpKind::kEmit)};
      draft.op.place = place, draft.op.film = kNone;
      if (is_change) draft.op.kernel = narrow(network_.input().height / shape(reg).height);
      draft.in = read(reg);
      segment_.add(draft);
    }
    if (!is_change) place += network_.output_shape(o).size();
  }
}

void Compiler::add_batched(std::int64_t reg) {
  const Layer& own = layer(reg);
  MBPO_CHECK(purpose_ != Purpose::kFrames || network_.outputs()[0] != reg, "rollout",
             "a map of changes from a layer other than a linear one", text("layer ", reg));
  MBPO_CHECK(std::ranges::count(network_.outputs(), reg) <= 1, "rollout",
             "a large linear layer at most once among the outputs", text("layer ", reg, " more often"));
  const std::int64_t depth = shape(own.input).size(), chunks = whole(depth, kDepth) / kDepth;
  const Op op = op_of(reg, OpKind::kLinear);
  BatchedLinear linear{};
  linear.depth = narrow(chunks * kDepth), linear.channels = narrow(own.channels), linear.relu = op.relu;
  linear.film = op.film;
  linear.weight = writer_.matrix(own.channels, chunks, 1, [&](std::int64_t out, std::int64_t step, int k) {
    const std::int64_t at = step * kDepth + k;
    return at < depth ? numbers_[own.weight + out * depth + at] : 0.0f;
  });
  linear.bias = writer_.floats(numbers_ + own.bias, 1, own.channels, padded_channels(narrow(own.channels)));
  linear.in = plan_.of(own.input).kept, linear.out = plan_.of(reg).kept;
  linear.emit = plan_.output_place(reg).value_or(kNone);
  program_.stages.push_back({true, 0, 0, 0, linear});
}

Program compile(const Network& network, std::span<const float> numbers, Purpose purpose,
                std::int64_t shared_limit) {
  const std::size_t own = numbers.size() / index_of(network.members());
  Program program;
  for (std::int64_t m = 0; m < network.members(); ++m) {
    Program member = Compiler(network, numbers.data() + index_of(m) * own, purpose, shared_limit).run();
    if (m == 0) {
      program = std::move(member);
    } else {
      program.weights.insert(program.weights.end(), member.weights.begin(), member.weights.end());
    }
  }
  return program;
}

}  // namespace mbpo_fast::gpu
