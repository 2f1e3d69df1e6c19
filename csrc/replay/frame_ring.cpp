#include "replay/frame_ring.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "core/check.h"
#include "replay/draw.h"

namespace mbpo_fast {

namespace {

constexpr std::int64_t kMaxSlot = std::int64_t{1} << 40;  // keeps transition ids far from 2**63

std::string row_name(std::int64_t slot, std::int64_t lane) {
  return text(" (slot ", slot, ", lane ", lane, ")");
}

}  // namespace

std::uint8_t FrameRing::pack_flags(const SlotRows& rows, std::int64_t i) {
  return static_cast<std::uint8_t>((rows.first[i] ? kFirst : 0) | (rows.terminated[i] ? kTerminated : 0) |
                                   (rows.truncated[i] ? kTruncated : 0) | (rows.split[i] ? kHoldout : 0));
}

FrameRing::FrameRing(std::int64_t num_envs, std::int64_t capacity, std::int64_t height, std::int64_t width,
                     const std::string& memory_map, std::int64_t num_threads)
    : num_envs_(num_envs),
      capacity_(capacity),
      height_(height),
      width_(width),
      frame_bytes_(0),
      row_copies_(num_threads) {
  constexpr const char* op = "FrameRing";
  MBPO_CHECK(num_envs >= 1 && num_envs <= kMaxBatch, op, text("1 <= num_envs <= ", kMaxBatch), num_envs);
  MBPO_CHECK(capacity >= 2, op, "capacity >= 2 slots a lane", capacity);
  MBPO_CHECK(height >= 1 && width >= 1, op, "a frame of at least 1x1", text(height, "x", width));
  frame_bytes_ = checked_product(op, {height, width});
  const std::int64_t slots = checked_product(op, {num_envs, capacity, 8}) / 8;
  const std::int64_t bytes = checked_product(op, {slots, frame_bytes_});
  frames_ = std::make_unique<Bytes>(bytes, memory_map);
  actions_ = std::make_unique_for_overwrite<std::int64_t[]>(static_cast<std::size_t>(slots));
  rewards_ = std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(slots));
  flags_ = std::make_unique_for_overwrite<std::uint8_t[]>(static_cast<std::size_t>(slots));
}

bool FrameRing::is_first(std::int64_t lane, std::int64_t slot) const {
  return flags(lane, slot) & kFirst;
}

bool FrameRing::has_stack(std::int64_t lane, std::int64_t slot, std::int64_t context) const {
  for (std::int64_t s = slot; s > slot - context; --s) {
    if (s < oldest_) return false;
    if (is_first(lane, s)) return true;
  }
  return true;
}

// n_step 0 asks for the start frame's stack alone.
bool FrameRing::is_valid(std::int64_t id, std::int64_t n_step, std::int64_t context) const {
  if (id < 0) return false;
  const std::int64_t slot = id / num_envs_, lane = id % num_envs_;
  if (slot < oldest_ || slot >= total_ - n_step) return false;
  if (n_step > 0 && is_first(lane, slot + 1)) return false;
  return has_stack(lane, slot, context);
}

bool FrameRing::in_split(std::int64_t id, Split split) const {
  if (split == Split::kAny) return true;
  const bool holdout = flags(id % num_envs_, id / num_envs_) & kHoldout;
  return holdout == (split == Split::kHoldout);
}

// The id whose start frame is stored at a place (slot % capacity) * num_envs + lane; -1: none is.
std::int64_t FrameRing::id_at(std::int64_t place) const {
  const std::int64_t lane = place % num_envs_;
  const std::int64_t age = (((total_ - 1 - place / num_envs_) % capacity_) + capacity_) % capacity_;
  const std::int64_t slot = total_ - 1 - age;
  return slot >= oldest_ ? slot * num_envs_ + lane : -1;
}

namespace {

// Members are ids above `base`; a place is where the tree keeps an id's priority.
template <class Id, class Place>
struct PriorityDraw {
  const SumTree& priorities;
  Id member_at;
  Place place_of;

  void propose(const Attempt* attempts, std::int64_t count, std::int64_t* members) const {
    std::vector<double> shares;
    shares.reserve(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) {
      shares.push_back(unit_from(attempts[i].high_word, attempts[i].low_word));
    }
    priorities.find(shares.data(), count, members);
    for (std::int64_t i = 0; i < count; ++i) members[i] = members[i] < 0 ? -1 : member_at(members[i]);
  }
  double weight(std::int64_t member) const {
    const std::int64_t place = place_of(member);
    float value = 0.0f;
    priorities.get(&place, 1, &value);
    return static_cast<double>(value);
  }
};

}  // namespace

std::vector<std::int64_t> FrameRing::sample_ids(std::int64_t batch, std::int64_t n_step, std::int64_t context,
                                                const DrawKey& key, Split split,
                                                const SumTree* priorities) const {
  constexpr const char* op = "FrameRing.sample_ids";
  MBPO_CHECK(batch >= 1 && batch <= kMaxBatch, op, text("1 <= batch <= ", kMaxBatch), batch);
  check_n_step(op, n_step);
  check_context(op, context);
  MBPO_CHECK(!priorities || priorities->size() == num_envs_ * capacity_, op,
             text("priorities for ", num_envs_ * capacity_, " places"), priorities->size());
  std::vector<std::int64_t> ids(static_cast<std::size_t>(batch));
  const std::shared_lock lock(mutex_);
  const std::int64_t base = oldest_ * num_envs_, range = (total_ - oldest_ - n_step) * num_envs_;
  const auto accept = [&](std::int64_t member) {
    return is_valid(base + member, n_step, context) && in_split(base + member, split);
  };
  if (priorities) {
    const auto member_at = [&](std::int64_t place) {
      const std::int64_t id = id_at(place);
      return id < base ? -1 : id - base;
    };
    const auto place_of = [&](std::int64_t member) { return (base + member) % (num_envs_ * capacity_); };
    draw_accepted(op, key, batch, range, PriorityDraw{*priorities, member_at, place_of}, accept, ids.data());
  } else {
    draw_accepted(op, key, batch, range, UniformDraw{range}, accept, ids.data());
  }
  for (std::int64_t& id : ids) id += base;
  return ids;
}

void FrameRing::places(const std::int64_t* ids, std::int64_t batch, std::int64_t* out) const {
  const std::vector<std::int64_t> wanted(ids, ids + batch);
  const std::shared_lock lock(mutex_);
  for (const std::int64_t id : wanted) {
    MBPO_CHECK(id >= 0 && id < total_ * num_envs_, "FrameRing.places",
               text("ids in [0, ", total_ * num_envs_, ")"), id);
  }
  for (const std::int64_t id : wanted) {
    *out++ = id >= oldest_ * num_envs_ ? id % (num_envs_ * capacity_) : -1;
  }
}

std::vector<std::int64_t> FrameRing::valid_ids(std::int64_t n_step, std::int64_t context, Split split) const {
  constexpr const char* op = "FrameRing.valid_ids";
  check_n_step(op, n_step);
  check_context(op, context);
  std::vector<std::int64_t> ids;
  const std::shared_lock lock(mutex_);
  for (std::int64_t id = oldest_ * num_envs_; id < (total_ - n_step) * num_envs_; ++id) {
    if (is_valid(id, n_step, context) && in_split(id, split)) ids.push_back(id);
  }
  return ids;
}

void FrameRing::append(const char* op, const SlotRows& rows, std::int64_t count) {
  const std::unique_lock lock(mutex_);
  append_locked(op, rows, count, total_);
}

void FrameRing::append_locked(const char* op, const SlotRows& rows, std::int64_t count, std::int64_t from) {
  check_rows(op, rows, count, from);
  if (total_ == oldest_) total_ = oldest_ = from;
  for (std::int64_t s = 0; s < count; ++s) {
    if (total_ - oldest_ == capacity_) evict_oldest();
    store_slot(rows, s);
  }
}

// What the rows say must fit together: it is what every later read relies on.
void FrameRing::check_rows(const char* op, const SlotRows& rows, std::int64_t count,
                           std::int64_t from) const {
  for (std::int64_t i = 0; i < count * num_envs_; ++i) {
    const std::int64_t slot = from + i / num_envs_, lane = i % num_envs_;
    const std::uint8_t now = pack_flags(rows, i);
    MBPO_CHECK(rows.split[i] <= 1, op, "split 0 or 1", text(int{rows.split[i]}, row_name(slot, lane)));
    if (now & kFirst) {
      MBPO_CHECK(!(now & kEnded), op, "no end on a row with first", text("one", row_name(slot, lane)));
      continue;
    }
    MBPO_CHECK(std::isfinite(rows.reward[i]), op, "finite rewards",
               text(rows.reward[i], row_name(slot, lane)));
    MBPO_CHECK(slot > 0, op, "first on a lane's first row", text("none", row_name(slot, lane)));
    const bool known = slot > from || total_ > oldest_;
    if (!known) continue;
    const std::uint8_t before = slot > from ? pack_flags(rows, i - num_envs_) : flags(lane, slot - 1);
    MBPO_CHECK(!(before & kEnded), op, "first after an episode's end", text("none", row_name(slot, lane)));
    MBPO_CHECK(((now ^ before) & kHoldout) == 0, op, "one split an episode",
               text("two", row_name(slot, lane)));
  }
}

void FrameRing::evict_oldest() {
  for (std::int64_t lane = 0; lane < num_envs_; ++lane) {
    if (!is_first(lane, oldest_ + 1)) --transitions_;
  }
  ++oldest_;
}

void FrameRing::store_slot(const SlotRows& rows, std::int64_t row) {
  for (std::int64_t lane = 0; lane < num_envs_; ++lane) {
    const std::int64_t i = row * num_envs_ + lane, place = at(lane, total_);
    std::memcpy(frame_at(place), rows.frame + i * frame_bytes_, static_cast<std::size_t>(frame_bytes_));
    const std::uint8_t now = pack_flags(rows, i);
    actions_[place] = now & kFirst ? 0 : rows.action[i];
    rewards_[place] = now & kFirst ? 0.0f : rows.reward[i];
    flags_[place] = now;
    if (total_ > oldest_ && !(now & kFirst)) ++transitions_;
  }
  ++total_;
}

void FrameRing::export_slots(std::int64_t from, std::int64_t to, const SlotOut& out) const {
  const std::shared_lock lock(mutex_);
  MBPO_CHECK(from >= oldest_ && from <= to && to <= total_, "FrameRing.export_slots",
             text("stored slots within [", oldest_, ", ", total_, ")"), text("[", from, ", ", to, ")"));
  for (std::int64_t i = 0; i < (to - from) * num_envs_; ++i) {
    const std::int64_t place = at(i % num_envs_, from + i / num_envs_);
    std::memcpy(out.frame + i * frame_bytes_, frame_at(place), static_cast<std::size_t>(frame_bytes_));
    out.action[i] = actions_[place];
    out.reward[i] = rewards_[place];
    out.first[i] = (flags_[place] & kFirst) != 0;
    out.terminated[i] = (flags_[place] & kTerminated) != 0;
    out.truncated[i] = (flags_[place] & kTruncated) != 0;
    out.split[i] = (flags_[place] & kHoldout) != 0;
  }
}

void FrameRing::import_slots(const SlotRows& rows, std::int64_t count, std::int64_t from) {
  constexpr const char* op = "FrameRing.import_slots";
  const std::unique_lock lock(mutex_);
  const bool empty = total_ == oldest_;
  MBPO_CHECK(empty ? from >= 0 && from <= kMaxSlot : from == total_, op,
             text("a segment that starts at slot ", empty ? text(">= 0") : text(total_)), from);
  append_locked(op, rows, count, from);
}

void FrameRing::clear() {
  const std::unique_lock lock(mutex_);
  total_ = oldest_ = transitions_ = 0;
}

std::int64_t FrameRing::nbytes() const {
  const auto slot_bytes = frame_bytes_ + static_cast<std::int64_t>(sizeof(std::int64_t) + sizeof(float) + 1);
  return num_envs_ * capacity_ * slot_bytes;
}

}  // namespace mbpo_fast
