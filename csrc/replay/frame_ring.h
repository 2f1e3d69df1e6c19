// Replay memory that stores every frame once: N lanes in lock-step, a ring of T slots each.
//
// Slot g (g counts the adds) of a lane holds a frame and the transition that LED INTO it. `first` marks a
// frame that no transition led into: an episode's first. So an episode's true final frame has a slot of its
// own, and a truncated step bootstraps from it. Transition id = g * N + lane, g being the slot of its start
// frame: ids ascend and last for life.
#pragma once

#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/philox.h"
#include "replay/gather.h"
#include "replay/row_copies.h"
#include "replay/sum_tree.h"

namespace mbpo_fast {

// Consecutive slots of all lanes, slot-major: frame [S, N, H, W], the rest [S, N]. Pointers to the caller's
// memory.
template <class Byte, class Action, class Reward>
struct SlotArrays {
  Byte* frame;
  Action* action;
  Reward* reward;
  Byte* terminated;
  Byte* truncated;
  Byte* first;
  Byte* split;
};
using SlotRows = SlotArrays<const std::uint8_t, const std::int64_t, const float>;
using SlotOut = SlotArrays<std::uint8_t, std::int64_t, float>;

enum class Split : int { kAny = -1, kTrain = 0, kHoldout = 1 };

// Safe to share between threads: readers run side by side, writers alone.
class FrameRing {
 public:
  // Frames go into a file in the folder `memory_map`, or into memory where it is empty. `num_threads`, the
  // caller among them, copy the rows of a large batch.
  FrameRing(std::int64_t num_envs, std::int64_t capacity, std::int64_t height, std::int64_t width,
            const std::string& memory_map = "", std::int64_t num_threads = 1);

  void add(const SlotRows& rows) { append("FrameRing.add", rows, 1); }
  // With priorities, one for each place, in proportion to them; else every transition alike.
  std::vector<std::int64_t> sample_ids(std::int64_t batch, std::int64_t n_step, std::int64_t context,
                                       const DrawKey& key, Split split,
                                       const SumTree* priorities = nullptr) const;
  // Where the ids' priorities are kept, i64 [B] in [0, num_envs * capacity); -1: not stored any more.
  void places(const std::int64_t* ids, std::int64_t batch, std::int64_t* out) const;
  std::vector<std::int64_t> valid_ids(std::int64_t n_step, std::int64_t context, Split split) const;
  void gather(const std::int64_t* ids, std::int64_t batch, const GatherSpec& spec,
              const GatherOut& out) const;
  // The one-step reward and end of each transition, without its frames.
  void outcomes(const std::int64_t* ids, std::int64_t batch, float* reward, std::uint8_t* terminated) const;
  // The stacks that end at the ids' start frames: out [B, context, H, W]. The transition itself need not
  // exist yet.
  void stacks(const std::int64_t* ids, std::int64_t batch, std::int64_t context, Padding padding,
              std::uint8_t* out) const;

  void export_slots(std::int64_t from, std::int64_t to, const SlotOut& out) const;
  // Goes on at slot `from`, which is `total()` unless the ring is empty. Nothing is changed when it throws.
  void import_slots(const SlotRows& rows, std::int64_t count, std::int64_t from);
  void clear();

  std::int64_t num_envs() const { return num_envs_; }
  std::int64_t capacity() const { return capacity_; }
  std::int64_t height() const { return height_; }
  std::int64_t width() const { return width_; }
  std::int64_t size() const {
    return locked([this] { return total_ - oldest_; });
  }
  std::int64_t total() const {
    return locked([this] { return total_; });
  }
  std::int64_t num_transitions() const {
    return locked([this] { return transitions_; });
  }
  std::int64_t nbytes() const;

 private:
  // One byte a slot, so that scanning an episode's neighbourhood touches one cache line.
  static constexpr std::uint8_t kFirst = 1, kTerminated = 2, kTruncated = 4, kHoldout = 8;
  static constexpr std::uint8_t kEnded = kTerminated | kTruncated;
  static std::uint8_t pack_flags(const SlotRows& rows, std::int64_t i);

  template <class Read>
  std::int64_t locked(Read read) const {
    const std::shared_lock lock(mutex_);
    return read();
  }

  struct Row {
    std::int64_t lane, start, steps;
    float reward, discount;
    bool terminated;
  };

  std::uint8_t* frame_at(std::int64_t place) const { return frames_->data() + place * frame_bytes_; }
  std::int64_t at(std::int64_t lane, std::int64_t slot) const { return lane * capacity_ + slot % capacity_; }
  std::uint8_t flags(std::int64_t lane, std::int64_t slot) const { return flags_[at(lane, slot)]; }
  bool is_first(std::int64_t lane, std::int64_t slot) const;
  bool has_stack(std::int64_t lane, std::int64_t slot, std::int64_t context) const;
  bool is_valid(std::int64_t id, std::int64_t n_step, std::int64_t context) const;
  bool in_split(std::int64_t id, Split split) const;
  std::int64_t id_at(std::int64_t place) const;
  Row resolve(std::int64_t id, const GatherSpec& spec) const;
  void copy_stack(std::int64_t lane, std::int64_t slot, std::int64_t context, Padding padding,
                  std::uint8_t* out) const;
  void copy_row(const Row& row, const GatherSpec& spec, std::int64_t b, const GatherOut& out) const;

  void append(const char* op, const SlotRows& rows, std::int64_t count);
  void append_locked(const char* op, const SlotRows& rows, std::int64_t count, std::int64_t from);
  void check_rows(const char* op, const SlotRows& rows, std::int64_t count, std::int64_t from) const;
  void evict_oldest();
  void store_slot(const SlotRows& rows, std::int64_t row);

  std::int64_t num_envs_, capacity_, height_, width_, frame_bytes_;
  std::int64_t total_ = 0;         // adds so far: the newest slot is total_ - 1
  std::int64_t oldest_ = 0;        // the oldest slot that is still here
  std::int64_t transitions_ = 0;   // stored slots whose predecessor is stored and of the same episode
  std::unique_ptr<Bytes> frames_;  // [N, T, H, W]
  std::unique_ptr<std::int64_t[]> actions_;
  std::unique_ptr<float[]> rewards_;
  std::unique_ptr<std::uint8_t[]> flags_;
  RowCopies row_copies_;
  mutable std::shared_mutex mutex_;
};

}  // namespace mbpo_fast
