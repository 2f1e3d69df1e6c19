// Places for maps in a block's shared memory: two maps overlap only if no operation needs both.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace mbpo_fast::gpu {

class Arena {
 public:
  explicit Arena(std::int64_t reserved) : reserved_(reserved), end_(reserved) {}

  // Bytes that are needed from operation `first` to operation `last`; returns where they lie. To be called in
  // the order of `first`.
  std::int64_t place(std::int64_t bytes, std::size_t first, std::size_t last) {
    std::erase_if(live_, [&](const Piece& piece) { return piece.last < first; });
    std::int64_t at = reserved_;
    for (const Piece& piece : live_) {
      if (at + bytes <= piece.begin) break;
      at = std::max(at, piece.end);
    }
    const Piece own{at, at + (bytes + 15) / 16 * 16, last};
    live_.insert(std::upper_bound(live_.begin(), live_.end(), own,
                                  [](const Piece& a, const Piece& b) { return a.begin < b.begin; }),
                 own);
    end_ = std::max(end_, own.end);
    return at;
  }

  std::int64_t end() const { return end_; }

 private:
  struct Piece {
    std::int64_t begin, end;
    std::size_t last;
  };
  std::int64_t reserved_, end_;
  std::vector<Piece> live_;  // by place
};

}  // namespace mbpo_fast::gpu
