// Memory of model rollouts: a ring of K branches, each C real frames and up to H generated ones, stored once.
//
// Branch ids count the begun branches; branch b lies at b % K. Step t of a branch goes from frame C - 1 + t
// to frame C + t. Transition id = branch * H + t.
#pragma once

#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <vector>

#include "core/philox.h"
#include "replay/gather.h"

namespace mbpo_fast {

// One new step for each of B branches; pointers to the caller's memory, frame [B, h, w].
struct BranchSteps {
  const std::uint8_t* frame;
  const std::int64_t* action;
  const float* reward;
  const std::uint8_t* terminated;
  const std::int16_t* member;
};

// Consecutive branches: frame [S, C + H, h, w], length [S], the rest [S, H].
template <class Byte, class Action, class Reward, class Member, class Length>
struct BranchArrays {
  Byte* frame;
  Action* action;
  Reward* reward;
  Byte* terminated;
  Member* member;
  Length* length;
};
using BranchRows =
    BranchArrays<const std::uint8_t, const std::int64_t, const float, const std::int16_t, const std::int32_t>;
using BranchOut = BranchArrays<std::uint8_t, std::int64_t, float, std::int16_t, std::int32_t>;

struct BranchShape {
  std::int64_t capacity, context, horizon, height, width;
};

// Safe to share between threads: readers run side by side, writers alone.
class BranchRing {
 public:
  explicit BranchRing(const BranchShape& shape);

  // Begins `count` branches from start [count, C, h, w] over the oldest ones; the first new id.
  std::int64_t begin(const std::uint8_t* start, std::int64_t count);
  void append(const std::int64_t* ids, std::int64_t count, const BranchSteps& steps);
  std::vector<std::int64_t> sample_ids(std::int64_t batch, const DrawKey& key) const;
  // Like FrameRing::gather; a return that reaches a branch's last step bootstraps from its last frame.
  void gather(const std::int64_t* ids, std::int64_t batch, const GatherSpec& spec,
              const GatherOut& out) const;
  // The newest `context` frames of each branch: out [count, context, h, w].
  void latest(const std::int64_t* ids, std::int64_t count, std::int64_t context, std::uint8_t* out) const;

  // What lies past a branch's length comes out as zeros.
  void export_branches(std::int64_t from, std::int64_t to, const BranchOut& out) const;
  // Goes on at branch `from`, which is `total()` unless the ring is empty. Nothing is changed when it throws.
  void import_branches(const BranchRows& rows, std::int64_t count, std::int64_t from);
  // Forgets all branches; the next one is `total()` as before.
  void clear();

  const BranchShape& shape() const { return shape_; }
  std::int64_t size() const;
  std::int64_t total() const;
  std::int64_t num_transitions() const;
  std::int64_t nbytes() const;

 private:
  std::int64_t at(std::int64_t branch) const { return branch % shape_.capacity; }
  std::uint8_t* frame(std::int64_t branch, std::int64_t index) const;
  bool is_stored(std::int64_t branch) const { return branch >= oldest_ && branch < total_; }
  bool has_step(std::int64_t id) const;
  void check_append(const std::vector<std::int64_t>& branches, const BranchSteps& steps);
  void check_import(const BranchRows& rows, std::int64_t count) const;
  void gather_row(std::int64_t id, const GatherSpec& spec, std::int64_t row, const GatherOut& out) const;
  std::int64_t claim();
  void store_branch(const BranchRows& rows, std::int64_t row);
  void export_branch(std::int64_t branch, std::int64_t row, const BranchOut& out) const;

  BranchShape shape_;
  std::int64_t frame_bytes_ = 0;
  std::int64_t total_ = 0;        // branches begun so far
  std::int64_t oldest_ = 0;       // the oldest branch that is still here
  std::int64_t transitions_ = 0;  // the sum of the stored lengths
  std::int64_t appends_ = 0;
  std::unique_ptr<std::uint8_t[]> frames_;  // [K, C + H, h, w]
  std::unique_ptr<std::int64_t[]> actions_;
  std::unique_ptr<float[]> rewards_;
  std::unique_ptr<std::uint8_t[]> terminated_;
  std::unique_ptr<std::int16_t[]> members_;
  std::unique_ptr<std::int32_t[]> lengths_;
  std::unique_ptr<std::int64_t[]> marks_;  // the append call that last named a branch: finds doubles
  mutable std::shared_mutex mutex_;
};

}  // namespace mbpo_fast
