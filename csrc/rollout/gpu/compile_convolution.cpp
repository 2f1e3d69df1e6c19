#include <algorithm>

#include "rollout/gpu/compiler.h"
#include "rollout/gpu/numbers.h"

namespace mbpo_fast::gpu {

namespace {

// Frames are laid into cells anew for each of their readers, in parts of at most this many bytes: cheaper
// than to keep them beside the other maps.
constexpr std::int64_t kFrameBytes = 50 << 10;

}  // namespace

float Compiler::frame_scale(std::int64_t reg, std::int64_t channel) const {
  const Layer& own = layer(reg);
  const bool moves = own.option == 1 && channel / (own.kernel * own.kernel) + 1 < own.channels;
  return numbers_[own.weight + moves];
}

std::int64_t Compiler::pack_convolution(std::int64_t reg, const Part& part, int planes) {
  const Layer& own = layer(reg);
  const std::int64_t taps = own.kernel * own.kernel, in = shape(own.input).channels - own.option;
  const std::int64_t chunks = whole(part.channels, kDepth) / kDepth;
  const bool scaled = plan_.is_frames(own.input);
  return writer_.matrix(own.channels, taps * chunks, planes, [&](std::int64_t out, std::int64_t step, int k) {
    const std::int64_t c = step % chunks * kDepth + k, at = part.first + c;
    if (c >= part.channels) return 0.0f;
    const float weight = numbers_[own.weight + (out * taps + step / chunks) * in + at];
    return scaled ? weight * frame_scale(own.input, own.option + at) : weight;
  });
}

// Channels of a frame in cells.
std::int64_t Compiler::cell_area(std::int64_t reg) const {
  return layer(reg).kernel * layer(reg).kernel;
}

Compiler::Portion Compiler::portion_of(std::int64_t reg) const {
  const Layer& own = layer(reg);
  const std::int64_t in = plan_.input_of(own);
  if (!plan_.is_frames(own.input)) return {1, own.option};
  // What is skipped is not laid, if that is whole frames.
  const std::int64_t area = cell_area(in), skipped = own.option % area ? own.option : 0;
  const auto bytes = [&](std::int64_t frames) {
    return bytes_of(make_map({shape(in).height, shape(in).width, frames * area}, own.padding, false));
  };
  const bool splits = own.film == kNone && own.condition == kNone && !skipped;
  std::int64_t frames = (shape(own.input).channels - own.option + skipped) / area;
  while (splits && frames > 1 && bytes(frames) > kFrameBytes) --frames;
  return {frames, skipped};
}

// The operation but for what it writes; its frames are laid before it.
Draft Compiler::convolution_part(std::int64_t reg, const Part& part, std::int64_t skipped) {
  const Layer& own = layer(reg);
  const std::int64_t in = plan_.input_of(own);
  const bool from_frames = plan_.is_frames(own.input);
  Draft draft{op_of(reg, OpKind::kConvolution)};
  if (from_frames) {
    const std::int64_t area = cell_area(in), first = skipped ? 0 : (own.option + part.first) / area;
    const Draft frames = frames_draft(in, first, (part.channels + skipped) / area, own.padding);
    segment_.add(frames);
    draft.in = frames.out;
  } else {
    draft.in = read(in);
    draft.op.relu_input = in != own.input;
  }
  draft.op.first = narrow(skipped), draft.op.count = narrow(whole(part.channels, kDepth));
  draft.op.planes = from_frames ? 2 : 1;
  draft.op.weight = pack_convolution(reg, part, draft.op.planes);
  const std::vector<float> none(index_of(own.channels));
  draft.op.bias = writer_.floats(part.is_last ? numbers_ + own.bias : none.data(), 1, own.channels,
                                 padded_channels(narrow(own.channels)));
  draft.op.relu = part.is_last && draft.op.relu;
  return draft;
}

// A convolution over frames adds up over parts of them, each on top of the sum before. That sum may be a
// bfloat16, so the odd part comes first: the newest frames, whose differences matter most, are one part.
void Compiler::add_convolution(std::int64_t reg) {
  const Layer& own = layer(reg);
  const std::int64_t wanted = shape(own.input).channels - own.option;
  const Portion portion = portion_of(reg);
  std::int64_t step = wanted;
  if (plan_.is_frames(own.input)) {
    step = std::min(wanted, portion.frames * cell_area(own.input) - portion.skipped);
  }
  std::size_t out = kAbsent;
  for (std::int64_t first = 0, count = 0; first < wanted; first += count) {
    count = first == 0 && wanted % step ? wanted % step : step;
    const Part part{first, count, first + count >= wanted};
    Draft draft = convolution_part(reg, part, portion.skipped);
    if (out == kAbsent) {
      steer(own, draft);
      out = out_map(reg);
    } else {
      draft.other = out;
    }
    draft.out = out;
    segment_.add(draft);
  }
}

}  // namespace mbpo_fast::gpu
