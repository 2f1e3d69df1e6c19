#include "rollout/gpu/segment.h"

#include <algorithm>

#include "core/check.h"
#include "rollout/gpu/arena.h"
#include "rollout/gpu/numbers.h"
#include "rollout/gpu/product.h"

namespace mbpo_fast::gpu {

namespace {

constexpr std::int64_t kMostBytes = 64 << 20;  // of a row's maps at a time

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

}  // namespace

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

std::size_t Segment::new_map(const Shape& shape, std::int64_t border, bool is_float) {
  maps_.push_back({make_map(shape, border, is_float), drafts_.size(), drafts_.size()});
  return maps_.size() - 1;
}

void Segment::add(const Draft& draft) {
  for (const std::size_t map : {draft.in, draft.other, draft.condition, draft.out}) {
    if (map != kAbsent) maps_[map].last = drafts_.size();
  }
  drafts_.push_back(draft);
}

// Returns where they end.
std::int64_t Segment::place_maps(std::int64_t shared_limit) {
  std::int64_t statistics = 0;  // two of each group
  for (const Draft& draft : drafts_) {
    if (draft.op.kind == OpKind::kNorm) statistics = std::max<std::int64_t>(statistics, 2 * draft.op.option);
  }
  std::vector<Piece> pieces;
  for (const MapUse& use : maps_) pieces.push_back({bytes_of(use.map), use.first, use.last});
  const std::int64_t end =
      place_pieces(pieces, whole(statistics * std::int64_t{sizeof(float)}, 16), shared_limit);
  MBPO_CHECK(end <= kMostBytes, "rollout", text("maps of a row of at most ", kMostBytes, " bytes"), end);
  for (std::size_t i = 0; i < maps_.size(); ++i) maps_[i].map.offset = narrow(pieces[i].at);
  return end;
}

void Segment::close(Program& program, std::int64_t shared_limit) {
  if (drafts_.empty()) return;
  const std::int64_t end = place_maps(shared_limit);
  if (end > shared_limit) program.arena_bytes = std::max(program.arena_bytes, end);
  const auto first = narrow(static_cast<std::int64_t>(program.ops.size()));
  for (Draft& draft : drafts_) {
    const auto map = [&](std::size_t which) { return which == kAbsent ? Map{} : maps_[which].map; };
    draft.op.in = map(draft.in), draft.op.other = map(draft.other);
    draft.op.condition = map(draft.condition), draft.op.out = map(draft.out);
    draft.op.tiles = tiles_of_warp(draft.op.out);
    program.ops.push_back(draft.op);
  }
  program.stages.push_back(
      {false, first, narrow(static_cast<std::int64_t>(drafts_.size())), narrow(end), {}});
  drafts_.clear();
  maps_.clear();
}

}  // namespace mbpo_fast::gpu
