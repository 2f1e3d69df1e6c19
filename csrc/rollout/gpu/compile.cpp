#include "rollout/gpu/compile.h"

#include <algorithm>
#include <optional>

#include "core/check.h"
#include "rollout/gpu/arena.h"
#include "rollout/gpu/weights.h"

namespace mbpo_fast::gpu {

namespace {

constexpr const char* kOp = "rollout";
// Frames are laid into cells anew for each of their readers, in parts of at most this many bytes: cheaper
// than to keep them beside the other maps.
constexpr std::int64_t kFrameBytes = 50 << 10;
// Numbers of a linear layer up to which a row's own block multiplies them.
constexpr std::int64_t kSmallLinear = 8192;
constexpr std::int64_t kMostBytes = 64 << 20;  // of a row's maps at a time
constexpr std::size_t kAbsent = static_cast<std::size_t>(-1);

std::size_t index_of(std::int64_t reg) {
  return static_cast<std::size_t>(reg);
}

std::int32_t narrow(std::int64_t value) {
  return static_cast<std::int32_t>(value);
}

std::int64_t whole(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

std::int64_t bytes_of(const Map& map) {
  const std::int64_t elements = std::int64_t{map.line} * (map.height + 2 * map.border);
  return elements * (map.is_float ? 4 : 2);
}

Map make_map(const Shape& shape, std::int64_t border, bool is_float) {
  const std::int64_t step = is_float ? whole(shape.channels, 4) + 4 : whole(shape.channels, kDepth) + 8;
  return {0,
          narrow(shape.height),
          narrow(shape.width),
          narrow(shape.channels),
          narrow(border),
          narrow((shape.width + 2 * border) * step),
          narrow(step),
          is_float};
}

// 16-pixel tiles that a warp should take at a time, so that the warps of a block end together.
std::int32_t tiles_of_warp(const Map& out) {
  const std::int64_t tiles = (std::int64_t{out.height} * out.width + kPixelTile - 1) / kPixelTile;
  const std::int64_t groups = padded_channels(out.channels) / kChannelGroup;
  std::int32_t best = kPixelTiles;
  std::int64_t least = -1;
  for (std::int32_t at_once = kPixelTiles; at_once > 0; at_once /= 2) {
    const std::int64_t items = (tiles + at_once - 1) / at_once * groups;
    const std::int64_t rounds = (items + kRowWarps - 1) / kRowWarps * at_once;
    if (least < 0 || rounds < least) best = at_once, least = rounds;
  }
  return best;
}

// Maps of values that were maps before: bfloat16 is enough for them, and half as large.
bool is_copy(LayerKind kind) {
  return kind == LayerKind::kActivation || kind == LayerKind::kConcat || kind == LayerKind::kClamp ||
         kind == LayerKind::kMaxPool;
}

// One pass over the layers, for one member: its operations and its weights.
class Compiler {
 public:
  Compiler(const Network& network, const float* numbers, Purpose purpose, std::int64_t shared_limit)
      : network_(network), numbers_(numbers), purpose_(purpose), shared_limit_(shared_limit) {}

  Program run() {
    find_readers();
    place_kept();
    for (std::size_t i = 0; i < layers().size(); ++i) {
      if (is_batched(i)) {
        close_segment();
        add_batched(i);
      } else {
        add_layer(i);
      }
    }
    close_segment();
    program_.weights = writer_.take();
    program_.member_bytes = static_cast<std::int64_t>(program_.weights.size());
    return std::move(program_);
  }

 private:
  // What is known of a register before its layer's turn comes.
  struct Known {
    std::size_t segment = 0;
    bool is_half = false;    // the input of a matrix product, of a sum in place, or a copy: bfloat16
    bool is_folded = false;  // an activation that its readers do themselves
    std::int64_t border = 0;
    std::size_t last_reader = 0;
    std::int64_t kept = kNone;  // where in the kept values
    std::size_t map = kAbsent;  // in the segment under way
  };
  struct MapUse {
    Map map;
    std::size_t first, last;
  };
  struct Draft {
    Op op;
    std::size_t in = kAbsent, other = kAbsent, condition = kAbsent, out = kAbsent;
  };

  const std::vector<Layer>& layers() const { return network_.layers(); }
  const Shape& shape(std::int64_t reg) const { return network_.registers()[index_of(reg)].shape; }
  bool is_constant(std::int64_t reg) const {
    return reg != kNone && layers()[index_of(reg)].kind == LayerKind::kConstant;
  }
  bool is_frames(std::int64_t reg) const { return layers()[index_of(reg)].kind == LayerKind::kFrames; }
  bool is_any_output(std::size_t reg) const {
    const std::vector<std::int64_t>& all = network_.outputs();
    return std::find(all.begin(), all.end(), static_cast<std::int64_t>(reg)) != all.end();
  }
  bool is_output(std::size_t reg) const { return output_place(reg).has_value(); }

  bool is_batched(std::size_t i) const {
    const Layer& layer = layers()[i];
    if (layer.kind != LayerKind::kLinear) return false;
    const bool is_small = layer.channels * shape(layer.input).size() <= kSmallLinear;
    return !is_small || is_batched(index_of(layer.input));
  }

  // The first of a register's outputs: elements into the row's outputs.
  std::optional<std::int64_t> output_place(std::size_t reg) const {
    std::int64_t place = 0;
    for (std::size_t o = purpose_ == Purpose::kFrames; o < network_.outputs().size(); ++o) {
      if (index_of(network_.outputs()[o]) == reg) return place;
      place += network_.output_shape(o).size();
    }
    return std::nullopt;
  }

  void find_readers();
  void fold_activations();
  void prepare_sums();
  void place_kept();
  void add_layer(std::size_t i);
  void add_batched(std::size_t i);
  void add_convolution(std::size_t i);
  void add_plain(std::size_t i);
  void finish(std::size_t i);
  void close_segment();

  std::size_t new_map(const Shape& shape, std::int64_t border, bool is_float) {
    maps_.push_back({make_map(shape, border, is_float), drafts_.size(), drafts_.size()});
    return maps_.size() - 1;
  }
  std::size_t own_map(std::size_t reg) {
    Known& own = known_[reg];
    own.map = new_map(shape(static_cast<std::int64_t>(reg)), own.border, !own.is_half);
    return own.map;
  }
  std::int64_t overwritten(const Layer& layer) const;
  std::size_t out_map(std::size_t i);
  std::int64_t input_of(const Layer& layer) const;
  std::size_t read(std::int64_t reg);
  void add(Draft draft);
  void steer(const Layer& layer, Draft& draft);
  std::int64_t pack_constant(std::int64_t reg);
  Op op_of(std::size_t i, OpKind kind);
  Draft frames_draft(std::int64_t reg, std::int64_t first, std::int64_t frames, std::int64_t border);
  // Where the channels of a convolution's part begin in its weights, and how many there are.
  struct Part {
    std::int64_t first, channels;
    bool is_last;
  };
  std::int64_t pack_convolution(std::size_t i, const Part& part, int planes);
  float frame_scale(std::int64_t reg, std::int64_t channel) const;

  const Network& network_;
  const float* numbers_;
  Purpose purpose_;
  std::int64_t shared_limit_;
  std::vector<Known> known_;
  std::vector<MapUse> maps_;   // of the segment under way
  std::vector<Draft> drafts_;  // likewise
  WeightWriter writer_;
  Program program_;
};

void Compiler::find_readers() {
  known_.resize(layers().size());
  std::size_t segment = 0;
  for (std::size_t i = 0; i < layers().size(); ++i) {
    segment += is_batched(i) || (i > 0 && is_batched(i - 1));
    known_[i].segment = segment;
  }
  fold_activations();
  for (std::size_t i = 0; i < layers().size(); ++i) {
    const Layer& layer = layers()[i];
    for (const std::int64_t reg : {input_of(layer), layer.other, layer.condition}) {
      if (reg != kNone) known_[index_of(reg)].last_reader = i;
    }
    if (layer.kind != LayerKind::kConvolution || is_frames(input_of(layer))) continue;
    Known& from = known_[index_of(input_of(layer))];
    from.is_half = true;
    from.border = std::max(from.border, layer.padding);
  }
  for (std::size_t i = 0; i < layers().size(); ++i) {
    const Shape own = shape(static_cast<std::int64_t>(i));
    if (!is_copy(layers()[i].kind) || own.height * own.width == 1) continue;
    known_[i].is_half = true;
    const std::size_t from = index_of(layers()[i].input);
    known_[from].is_half |= !is_frames(layers()[i].input) && !is_any_output(from);
  }
  prepare_sums();
}

// The register whose map a layer may write over, element by element: what a convolution adds, what is
// normalised.
std::int64_t Compiler::overwritten(const Layer& layer) const {
  if (layer.kind == LayerKind::kNorm) return layer.input;
  if (layer.kind != LayerKind::kConvolution || layer.other == input_of(layer)) return kNone;
  return is_constant(layer.other) ? kNone : layer.other;
}

// What nobody reads after it is written over is shaped like what takes its place.
void Compiler::prepare_sums() {
  for (std::size_t i = layers().size(); i-- > 0;) {
    const std::int64_t reg = overwritten(layers()[i]);
    if (reg == kNone || is_frames(reg) || !known_[i].is_half) continue;
    Known& from = known_[index_of(reg)];
    if (from.last_reader != i || (!from.is_half && layers()[i].kind == LayerKind::kNorm)) continue;
    from.is_half = true;
    from.border = std::max(from.border, known_[i].border);
  }
}

// What a layer reads once activations are folded.
std::int64_t Compiler::input_of(const Layer& layer) const {
  if (layer.input == kNone || !known_[index_of(layer.input)].is_folded) return layer.input;
  return layers()[index_of(layer.input)].input;
}

// The map that a layer writes: a new one, or one that nobody else needs any more.
std::size_t Compiler::out_map(std::size_t i) {
  const std::int64_t reg = overwritten(layers()[i]);
  if (reg == kNone) return own_map(i);
  const Known &from = known_[index_of(reg)], &own = known_[i];
  const bool fits = from.map != kAbsent && from.last_reader == i && from.is_half == own.is_half &&
                    from.border >= own.border;
  if (!fits) return own_map(i);
  known_[i].map = from.map;
  return from.map;
}

// An activation whose readers are convolutions of its own segment needs no map of its own.
void Compiler::fold_activations() {
  for (std::size_t i = 0; i < layers().size(); ++i) {
    const Layer& layer = layers()[i];
    if (layer.kind != LayerKind::kActivation || layer.activation != Activation::kRelu || is_output(i))
      continue;
    if (layer.other != kNone || is_frames(layer.input) || known_[index_of(layer.input)].is_folded) continue;
    bool folds = true;
    for (std::size_t j = i + 1; j < layers().size(); ++j) {
      const Layer& reader = layers()[j];
      const auto own = static_cast<std::int64_t>(i);
      if (reader.input != own && reader.other != own && reader.condition != own) continue;
      folds &= reader.kind == LayerKind::kConvolution && reader.other != own &&
               known_[j].segment == known_[i].segment;
    }
    known_[i].is_folded = folds;
  }
}

void Compiler::place_kept() {
  for (std::size_t i = 0; i < layers().size(); ++i) {
    const Layer& layer = layers()[i];
    for (const std::int64_t read : {layer.input, layer.other, layer.condition}) {
      if (read == kNone) continue;
      Known& from = known_[index_of(read)];
      const bool crosses = from.segment != known_[i].segment;
      const bool is_laid_anew = (is_frames(read) || is_constant(read)) && !is_batched(i);
      if (crosses && !is_laid_anew) from.kept = 0;
    }
    if (is_batched(i)) known_[i].kept = 0;
  }
  for (std::size_t i = 0; i < known_.size(); ++i) {
    if (known_[i].kept == kNone) continue;
    known_[i].kept = program_.kept_of_row;
    program_.kept_of_row += whole(shape(static_cast<std::int64_t>(i)).size(), kDepth);
  }
  for (std::size_t o = purpose_ == Purpose::kFrames; o < network_.outputs().size(); ++o) {
    program_.outputs_of_row += network_.output_shape(o).size();
  }
}

void Compiler::add(Draft draft) {
  for (const std::size_t map : {draft.in, draft.other, draft.condition, draft.out}) {
    if (map != kAbsent) maps_[map].last = drafts_.size();
  }
  drafts_.push_back(draft);
}

Op Compiler::op_of(std::size_t i, OpKind kind) {
  const Layer& layer = layers()[i];
  Op op{};
  op.kind = kind;
  op.kernel = narrow(layer.kernel), op.stride = narrow(layer.stride), op.padding = narrow(layer.padding);
  op.option = narrow(layer.option);
  op.relu = layer.activation == Activation::kRelu;
  op.weight = op.bias = op.film = op.constant = kNone;
  if (layer.film != kNone) {
    op.film = writer_.film(numbers_ + layer.film, network_.input().actions, layer.channels);
  }
  return op;
}

// The map of a register: of this segment, of kept values, or of frames.
std::size_t Compiler::read(std::int64_t reg) {
  Known& from = known_[index_of(reg)];
  if (from.map != kAbsent) return from.map;
  if (is_frames(reg)) {
    const Layer& layer = layers()[index_of(reg)];
    Draft draft = frames_draft(reg, 0, layer.channels, 0);
    std::copy_n(numbers_ + layer.weight, 2, draft.op.numbers);
    from.map = draft.out = new_map(shape(reg), 0, true);
    add(draft);
    return from.map;
  }
  if (is_constant(reg)) {
    Draft lay{op_of(index_of(reg), OpKind::kConstant)};
    lay.op.weight = pack_constant(reg);
    lay.out = own_map(index_of(reg));
    add(lay);
    return lay.out;
  }
  Draft load{op_of(index_of(reg), OpKind::kLoad)};
  load.op.film = kNone;
  load.op.place = from.kept;
  load.out = own_map(index_of(reg));
  add(load);
  return load.out;
}

Compiler::Draft Compiler::frames_draft(std::int64_t reg, std::int64_t first, std::int64_t frames,
                                       std::int64_t border) {
  const Layer& layer = layers()[index_of(reg)];
  Draft draft{op_of(index_of(reg), OpKind::kFrames)};
  draft.op.first = narrow(first), draft.op.count = narrow(layer.channels);
  draft.op.numbers[0] = draft.op.numbers[1] = 1.0f;
  const Shape whole_map = shape(reg);
  draft.out =
      new_map({whole_map.height, whole_map.width, frames * layer.kernel * layer.kernel}, border, false);
  return draft;
}

void Compiler::add_layer(std::size_t i) {
  const Layer& layer = layers()[i];
  const auto reg = static_cast<std::int64_t>(i);
  if (known_[i].is_folded) return;
  if (layer.kind == LayerKind::kConvolution) {
    add_convolution(i);
  } else if (!is_frames(reg) && !is_constant(reg)) {
    add_plain(i);
  }
  finish(i);
}

OpKind plain_kind(LayerKind kind) {
  switch (kind) {
    case LayerKind::kMeans:
      return OpKind::kMeans;
    case LayerKind::kLinear:
      return OpKind::kLinear;
    case LayerKind::kNorm:
      return OpKind::kNorm;
    case LayerKind::kConcat:
      return OpKind::kConcat;
    case LayerKind::kClamp:
      return OpKind::kClamp;
    case LayerKind::kMaxPool:
      return OpKind::kMaxPool;
    case LayerKind::kPool:
      return OpKind::kPool;
    case LayerKind::kDepthToSpace:
      return OpKind::kDepthToSpace;
    case LayerKind::kExpectation:
      return OpKind::kExpectation;
    default:
      return OpKind::kActivation;
  }
}

// A layer without a matrix product: float32 weights, if any.
void Compiler::add_plain(std::size_t i) {
  const Layer& layer = layers()[i];
  Draft draft{op_of(i, plain_kind(layer.kind))};
  if (layer.input != kNone) draft.in = read(layer.input);
  steer(layer, draft);
  const std::int64_t channels = layer.channels, padded = padded_channels(narrow(channels));
  const float* weight = numbers_ + layer.weight;
  if (layer.kind == LayerKind::kLinear) {
    const std::int64_t depth = shape(layer.input).size();
    draft.op.weight = writer_.floats(weight, channels, depth, depth);
  } else if (layer.kind == LayerKind::kNorm) {
    draft.op.weight = writer_.floats(weight, 1, channels, padded);
  } else if (layer.kind == LayerKind::kExpectation) {
    draft.op.weight = writer_.floats(weight, 1, layer.option, layer.option);
  } else if (layer.kind == LayerKind::kClamp) {
    std::copy_n(weight, 2, draft.op.numbers);
  }
  if (layer.bias != kNone) draft.op.bias = writer_.floats(numbers_ + layer.bias, 1, channels, padded);
  draft.out = out_map(i);
  add(draft);
}

// The other registers that a layer reads; a constant map is added from its weights.
void Compiler::steer(const Layer& layer, Draft& draft) {
  if (layer.condition != kNone) draft.condition = read(layer.condition);
  if (is_constant(layer.other) && layer.kind != LayerKind::kConcat) {
    draft.op.constant = pack_constant(layer.other);
  } else if (layer.other != kNone) {
    draft.other = read(layer.other);
  }
}

std::int64_t Compiler::pack_constant(std::int64_t reg) {
  const std::int64_t size = shape(reg).size();
  return writer_.floats(numbers_ + layers()[index_of(reg)].weight, 1, size, size);
}

float Compiler::frame_scale(std::int64_t reg, std::int64_t channel) const {
  const Layer& layer = layers()[index_of(reg)];
  const bool moves = layer.option == 1 && channel / (layer.kernel * layer.kernel) + 1 < layer.channels;
  return numbers_[layer.weight + moves];
}

std::int64_t Compiler::pack_convolution(std::size_t i, const Part& part, int planes) {
  const Layer& layer = layers()[i];
  const std::int64_t taps = layer.kernel * layer.kernel, in = shape(layer.input).channels - layer.option;
  const std::int64_t chunks = whole(part.channels, kDepth) / kDepth;
  const bool scaled = is_frames(layer.input);
  return writer_.matrix(
      layer.channels, taps * chunks, planes, [&](std::int64_t out, std::int64_t step, int k) {
        const std::int64_t c = step % chunks * kDepth + k, own = part.first + c;
        if (c >= part.channels) return 0.0f;
        const float weight = numbers_[layer.weight + (out * taps + step / chunks) * in + own];
        return scaled ? weight * frame_scale(layer.input, layer.option + own) : weight;
      });
}

// A convolution over frames adds up over parts of them, each on top of the sum before.
void Compiler::add_convolution(std::size_t i) {
  const Layer& layer = layers()[i];
  const bool from_frames = is_frames(layer.input);
  const std::int64_t in = input_of(layer);
  const std::int64_t wanted = shape(layer.input).channels - layer.option;
  const std::int64_t area = from_frames ? layers()[index_of(in)].kernel * layers()[index_of(in)].kernel : 1;
  std::int64_t frames_at_once = 1, skipped = layer.option;
  if (from_frames) {
    // What is skipped is not laid, if that is whole frames.
    skipped = layer.option % area ? layer.option : 0;
    const auto bytes = [&](std::int64_t frames) {
      return bytes_of(make_map({shape(in).height, shape(in).width, frames * area}, layer.padding, false));
    };
    const bool splits = layer.film == kNone && layer.condition == kNone && !skipped;
    frames_at_once = (wanted + skipped) / area;
    while (splits && frames_at_once > 1 && bytes(frames_at_once) > kFrameBytes) --frames_at_once;
  }
  const std::int64_t step = from_frames ? std::min(wanted, frames_at_once * area - skipped) : wanted;
  std::size_t out = kAbsent;
  for (std::int64_t first = 0; first < wanted; first += step) {
    Draft draft{op_of(i, OpKind::kConvolution)};
    const Part part{first, std::min(step, wanted - first), first + step >= wanted};
    if (from_frames) {
      const std::int64_t first_frame = skipped ? 0 : (layer.option + first) / area;
      Draft frames = frames_draft(in, first_frame, (part.channels + skipped) / area, layer.padding);
      add(frames);
      draft.in = frames.out;
    } else {
      draft.in = read(in);
      draft.op.relu_input = in != layer.input;
    }
    draft.op.first = narrow(skipped), draft.op.count = narrow(whole(part.channels, kDepth));
    draft.op.planes = from_frames ? 2 : 1;
    draft.op.weight = pack_convolution(i, part, draft.op.planes);
    const std::vector<float> none(index_of(layer.channels));
    draft.op.bias = writer_.floats(part.is_last ? numbers_ + layer.bias : none.data(), 1, layer.channels,
                                   padded_channels(narrow(layer.channels)));
    draft.op.relu = part.is_last && draft.op.relu;
    if (out == kAbsent) {
      steer(layer, draft);
      out = out_map(i);
    } else {
      draft.other = out;
    }
    draft.out = out;
    add(draft);
  }
}

// What a layer's register is wanted for outside of its segment.
void Compiler::finish(std::size_t i) {
  const auto reg = static_cast<std::int64_t>(i);
  if (known_[i].kept != kNone) {
    Draft store{op_of(i, OpKind::kStore)};
    store.op.place = known_[i].kept, store.op.film = kNone;
    store.in = read(reg);
    add(store);
  }
  std::int64_t place = 0;
  for (std::size_t o = 0; o < network_.outputs().size(); ++o) {
    const bool is_change = purpose_ == Purpose::kFrames && o == 0;
    if (network_.outputs()[o] == reg) {
      Draft draft{op_of(i, is_change ? OpKind::kChange : OpKind::kEmit)};
      draft.op.place = place, draft.op.film = kNone;
      if (is_change) draft.op.kernel = narrow(network_.input().height / shape(reg).height);
      draft.in = read(reg);
      add(draft);
    }
    if (!is_change) place += network_.output_shape(o).size();
  }
}

void Compiler::add_batched(std::size_t i) {
  const Layer& layer = layers()[i];
  MBPO_CHECK(purpose_ != Purpose::kFrames || network_.outputs()[0] != static_cast<std::int64_t>(i), kOp,
             "a map of changes from a layer other than a linear one", text("layer ", i));
  const std::int64_t depth = shape(layer.input).size(), chunks = whole(depth, kDepth) / kDepth;
  const Op op = op_of(i, OpKind::kLinear);
  BatchedLinear linear{};
  linear.depth = narrow(chunks * kDepth), linear.channels = narrow(layer.channels), linear.relu = op.relu;
  linear.film = op.film;
  linear.weight = writer_.matrix(layer.channels, chunks, 1, [&](std::int64_t out, std::int64_t step, int k) {
    const std::int64_t at = step * kDepth + k;
    return at < depth ? numbers_[layer.weight + out * depth + at] : 0.0f;
  });
  linear.bias =
      writer_.floats(numbers_ + layer.bias, 1, layer.channels, padded_channels(narrow(layer.channels)));
  linear.in = known_[index_of(layer.input)].kept, linear.out = known_[i].kept;
  linear.emit = output_place(i).value_or(kNone);
  program_.stages.push_back({true, 0, 0, 0, linear});
}

void Compiler::close_segment() {
  if (drafts_.empty()) return;
  std::int64_t statistics = 0;  // two of each group
  for (const Draft& draft : drafts_) {
    if (draft.op.kind == OpKind::kNorm) statistics = std::max<std::int64_t>(statistics, 2 * draft.op.option);
  }
  std::vector<Piece> pieces;
  for (const MapUse& use : maps_) pieces.push_back({bytes_of(use.map), use.first, use.last});
  const std::int64_t end =
      place_pieces(pieces, whole(statistics * std::int64_t{sizeof(float)}, 16), shared_limit_);
  MBPO_CHECK(end <= kMostBytes, kOp, text("maps of a row of at most ", kMostBytes, " bytes"), end);
  if (end > shared_limit_) program_.arena_bytes = std::max(program_.arena_bytes, end);
  for (std::size_t i = 0; i < maps_.size(); ++i) maps_[i].map.offset = narrow(pieces[i].at);
  const auto first = narrow(static_cast<std::int64_t>(program_.ops.size()));
  for (Draft& draft : drafts_) {
    const auto map = [&](std::size_t which) { return which == kAbsent ? Map{} : maps_[which].map; };
    draft.op.in = map(draft.in), draft.op.other = map(draft.other);
    draft.op.condition = map(draft.condition), draft.op.out = map(draft.out);
    draft.op.tiles = tiles_of_warp(draft.op.out);
    program_.ops.push_back(draft.op);
  }
  program_.stages.push_back(
      {false, first, narrow(static_cast<std::int64_t>(drafts_.size())), narrow(end), {}});
  drafts_.clear();
  maps_.clear();
  for (Known& own : known_) own.map = kAbsent;
}

}  // namespace

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
