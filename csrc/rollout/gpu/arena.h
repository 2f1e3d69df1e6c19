// Places for maps in a block's shared memory: two maps overlap only if no operation needs both.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace mbpo_fast::gpu {

// Bytes that are needed from operation `first` to operation `last`, and where they lie.
struct Piece {
  std::int64_t bytes;
  std::size_t first, last;
  std::int64_t at = 0;
};

// Places the pieces in this order, each as low as it goes, from `start` on; returns where the last one ends.
inline std::int64_t place_in_order(std::vector<Piece>& pieces, const std::vector<std::size_t>& order,
                                   std::int64_t start) {
  std::vector<const Piece*> placed;  // by place
  std::int64_t end = start;
  for (const std::size_t which : order) {
    Piece& own = pieces[which];
    own.bytes = (own.bytes + 15) / 16 * 16;
    own.at = start;
    for (const Piece* other : placed) {
      if (other->last < own.first || own.last < other->first) continue;
      if (own.at + own.bytes <= other->at) break;
      own.at = std::max(own.at, other->at + other->bytes);
    }
    placed.insert(std::upper_bound(placed.begin(), placed.end(), &own,
                                   [](const Piece* a, const Piece* b) { return a->at < b->at; }),
                  &own);
    end = std::max(end, own.at + own.bytes);
  }
  return end;
}

// The largest pieces first; where that takes more than `limit`, orders in which two pieces change places, as
// long as that helps.
inline std::int64_t place_pieces(std::vector<Piece>& pieces, std::int64_t start, std::int64_t limit) {
  std::vector<std::size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return pieces[a].bytes > pieces[b].bytes; });
  std::int64_t least = place_in_order(pieces, order, start);
  std::vector<Piece> best = pieces;
  for (std::size_t i = 0; i < order.size() && least > limit; ++i) {
    for (std::size_t j = i + 1; j < order.size() && least > limit; ++j) {
      std::swap(order[i], order[j]);
      const std::int64_t end = place_in_order(pieces, order, start);
      if (end < least) {
        least = end, best = pieces;
      } else {
        std::swap(order[i], order[j]);
      }
    }
  }
  pieces = best;
  return least;
}

}  // namespace mbpo_fast::gpu
