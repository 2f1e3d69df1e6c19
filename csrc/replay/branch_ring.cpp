#include "replay/branch_ring.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "core/check.h"
#include "replay/draw.h"

namespace mbpo_fast {

namespace {

constexpr std::int64_t kMaxHorizon = 4096;
constexpr std::int64_t kMaxBranch = std::int64_t{1} << 40;  // keeps transition ids far from 2**63

template <class T>
std::unique_ptr<T[]> allocate(std::int64_t count) {
  return std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>(count));
}

// Copies `count` elements and fills up with zeros to `room`.
template <class T>
void copy_padded(const T* from, std::int64_t count, std::int64_t room, T* to) {
  std::fill(std::copy_n(from, count, to), to + room, T{});
}

}  // namespace

BranchRing::BranchRing(const BranchShape& shape) : shape_(shape) {
  constexpr const char* op = "BranchRing";
  MBPO_CHECK(shape.capacity >= 1, op, "capacity >= 1", shape.capacity);
  MBPO_CHECK(shape.horizon >= 1 && shape.horizon <= kMaxHorizon, op, text("1 <= horizon <= ", kMaxHorizon),
             shape.horizon);
  check_context(op, shape.context);
  MBPO_CHECK(shape.height >= 1 && shape.width >= 1, op, "a frame of at least 1x1",
             text(shape.height, "x", shape.width));
  frame_bytes_ = checked_product(op, {shape.height, shape.width});
  const std::int64_t steps = checked_product(op, {shape.capacity, shape.horizon, 8}) / 8;
  frames_ = allocate<std::uint8_t>(
      checked_product(op, {shape.capacity, shape.context + shape.horizon, frame_bytes_}));
  actions_ = allocate<std::int64_t>(steps);
  rewards_ = allocate<float>(steps);
  terminated_ = allocate<std::uint8_t>(steps);
  members_ = allocate<std::int16_t>(steps);
  lengths_ = allocate<std::int32_t>(shape.capacity);
  marks_ = std::make_unique<std::int64_t[]>(static_cast<std::size_t>(shape.capacity));
}

std::uint8_t* BranchRing::frame(std::int64_t branch, std::int64_t index) const {
  return frames_.get() + (at(branch) * (shape_.context + shape_.horizon) + index) * frame_bytes_;
}

// The place of a new branch, made by dropping the oldest one where the ring is full.
std::int64_t BranchRing::claim() {
  if (total_ - oldest_ == shape_.capacity) transitions_ -= lengths_[at(oldest_++)];
  lengths_[at(total_)] = 0;
  return total_++;
}

std::int64_t BranchRing::begin(const std::uint8_t* start, std::int64_t count) {
  MBPO_CHECK(count >= 1 && count <= shape_.capacity, "BranchRing.begin",
             text("1 to ", shape_.capacity, " branches"), count);
  const std::unique_lock lock(mutex_);
  const std::int64_t first = total_, start_bytes = shape_.context * frame_bytes_;
  for (std::int64_t b = 0; b < count; ++b) {
    std::memcpy(frame(claim(), 0), start + b * start_bytes, static_cast<std::size_t>(start_bytes));
  }
  return first;
}

void BranchRing::check_append(const std::vector<std::int64_t>& branches, const BranchSteps& steps) {
  constexpr const char* op = "BranchRing.append";
  const std::int64_t call = ++appends_;
  for (std::size_t row = 0; row < branches.size(); ++row) {
    const std::int64_t branch = branches[row];
    MBPO_CHECK(is_stored(branch), op, "ids of stored branches", branch);
    const std::int32_t length = lengths_[at(branch)];
    MBPO_CHECK(length < shape_.horizon, op, text("branches of fewer than ", shape_.horizon, " steps"),
               text("branch ", branch, " with ", length));
    const bool ended = length > 0 && terminated_[at(branch) * shape_.horizon + length - 1];
    MBPO_CHECK(!ended, op, "branches that have not terminated", text("branch ", branch));
    MBPO_CHECK(marks_[at(branch)] != call, op, "each branch at most once", text("branch ", branch, " twice"));
    marks_[at(branch)] = call;
    MBPO_CHECK(std::isfinite(steps.reward[row]), op, "finite rewards",
               text(steps.reward[row], " (branch ", branch, ")"));
  }
}

void BranchRing::append(const std::int64_t* ids, std::int64_t count, const BranchSteps& steps) {
  const std::vector<std::int64_t> branches(ids, ids + count);
  const std::unique_lock lock(mutex_);
  check_append(branches, steps);
  for (std::int64_t row = 0; row < count; ++row) {
    const std::int64_t branch = branches[static_cast<std::size_t>(row)];
    const std::int32_t length = lengths_[at(branch)]++;
    const std::int64_t place = at(branch) * shape_.horizon + length;
    std::memcpy(frame(branch, shape_.context + length), steps.frame + row * frame_bytes_,
                static_cast<std::size_t>(frame_bytes_));
    actions_[place] = steps.action[row];
    rewards_[place] = steps.reward[row];
    terminated_[place] = steps.terminated[row] != 0;
    members_[place] = steps.member[row];
  }
  transitions_ += count;
}

bool BranchRing::has_step(std::int64_t id) const {
  return id >= 0 && is_stored(id / shape_.horizon) && id % shape_.horizon < lengths_[at(id / shape_.horizon)];
}

std::vector<std::int64_t> BranchRing::sample_ids(std::int64_t batch, const DrawKey& key) const {
  constexpr const char* op = "BranchRing.sample_ids";
  MBPO_CHECK(batch >= 1 && batch <= kMaxBatch, op, text("1 <= batch <= ", kMaxBatch), batch);
  std::vector<std::int64_t> ids(static_cast<std::size_t>(batch));
  const std::shared_lock lock(mutex_);
  const std::int64_t base = oldest_ * shape_.horizon;
  const auto accept = [&](std::int64_t member) { return has_step(base + member); };
  const std::int64_t range = (total_ - oldest_) * shape_.horizon;
  draw_accepted(op, key, batch, range, UniformDraw{range}, accept, ids.data());
  for (std::int64_t& id : ids) id += base;
  return ids;
}

void BranchRing::gather_row(std::int64_t id, const GatherSpec& spec, std::int64_t row,
                            const GatherOut& out) const {
  const std::int64_t branch = id / shape_.horizon, t = id % shape_.horizon;
  const std::int64_t place = at(branch) * shape_.horizon + t;
  const std::int64_t steps = std::min<std::int64_t>(spec.n_step, lengths_[at(branch)] - t);
  double total = 0.0, weight = 1.0;
  for (std::int64_t j = 0; j < steps; ++j) {
    total += weight * static_cast<double>(rewards_[place + j]);
    weight *= spec.gamma;
  }
  const bool terminated = terminated_[place + steps - 1];
  const std::int64_t stack_bytes = spec.context * frame_bytes_;
  const std::uint8_t* stack = frame(branch, shape_.context + t - spec.context);
  std::memcpy(out.obs + row * stack_bytes, stack, static_cast<std::size_t>(stack_bytes));
  std::memcpy(out.next_obs + row * stack_bytes, stack + steps * frame_bytes_,
              static_cast<std::size_t>(stack_bytes));
  out.action[row] = actions_[place];
  out.reward[row] = static_cast<float>(total);
  out.discount[row] = terminated ? 0.0f : static_cast<float>(weight);
  out.terminated[row] = terminated;
}

// All ids are checked before the first write, from one read of each: a bad one leaves the outputs as they
// were.
void BranchRing::gather(const std::int64_t* ids, std::int64_t batch, const GatherSpec& spec,
                        const GatherOut& out) const {
  constexpr const char* op = "BranchRing.gather";
  check_n_step(op, spec.n_step);
  check_gamma(op, spec.gamma);
  check_context(op, spec.context, shape_.context);
  const std::vector<std::int64_t> wanted(ids, ids + batch);
  const std::shared_lock lock(mutex_);
  for (const std::int64_t id : wanted) MBPO_CHECK(has_step(id), op, "ids of stored transitions", id);
  for (std::int64_t row = 0; row < batch; ++row) {
    gather_row(wanted[static_cast<std::size_t>(row)], spec, row, out);
  }
}

void BranchRing::latest(const std::int64_t* ids, std::int64_t count, std::int64_t context,
                        std::uint8_t* out) const {
  constexpr const char* op = "BranchRing.latest";
  check_context(op, context, shape_.context);
  const std::vector<std::int64_t> branches(ids, ids + count);
  const std::shared_lock lock(mutex_);
  for (const std::int64_t branch : branches)
    MBPO_CHECK(is_stored(branch), op, "ids of stored branches", branch);
  const std::int64_t stack_bytes = context * frame_bytes_;
  for (const std::int64_t branch : branches) {
    const std::uint8_t* stack = frame(branch, shape_.context + lengths_[at(branch)] - context);
    std::memcpy(out, stack, static_cast<std::size_t>(stack_bytes));
    out += stack_bytes;
  }
}

void BranchRing::export_branch(std::int64_t branch, std::int64_t row, const BranchOut& out) const {
  const std::int64_t length = lengths_[at(branch)], room = shape_.horizon;
  const std::int64_t place = at(branch) * room, target = row * room;
  const std::int64_t frames = shape_.context + room;
  copy_padded(frame(branch, 0), (shape_.context + length) * frame_bytes_, frames * frame_bytes_,
              out.frame + row * frames * frame_bytes_);
  copy_padded(&actions_[place], length, room, out.action + target);
  copy_padded(&rewards_[place], length, room, out.reward + target);
  copy_padded(&terminated_[place], length, room, out.terminated + target);
  copy_padded(&members_[place], length, room, out.member + target);
  out.length[row] = static_cast<std::int32_t>(length);
}

void BranchRing::export_branches(std::int64_t from, std::int64_t to, const BranchOut& out) const {
  const std::shared_lock lock(mutex_);
  MBPO_CHECK(from >= oldest_ && from <= to && to <= total_, "BranchRing.export_branches",
             text("stored branches within [", oldest_, ", ", total_, ")"), text("[", from, ", ", to, ")"));
  for (std::int64_t branch = from; branch < to; ++branch) export_branch(branch, branch - from, out);
}

void BranchRing::check_import(const BranchRows& rows, std::int64_t count) const {
  constexpr const char* op = "BranchRing.import_branches";
  for (std::int64_t row = 0; row < count; ++row) {
    const std::int64_t length = rows.length[row];
    MBPO_CHECK(length >= 0 && length <= shape_.horizon, op, text("0 <= length <= ", shape_.horizon), length);
    for (std::int64_t t = 0; t < length; ++t) {
      const std::int64_t i = row * shape_.horizon + t;
      MBPO_CHECK(t + 1 == length || !rows.terminated[i], op, "an end on a branch's last step alone",
                 text("one on step ", t, " of ", length));
      MBPO_CHECK(std::isfinite(rows.reward[i]), op, "finite rewards", rows.reward[i]);
    }
  }
}

void BranchRing::store_branch(const BranchRows& rows, std::int64_t row) {
  const std::int64_t room = shape_.horizon, frames = shape_.context + room;
  const std::int64_t branch = claim(), place = at(branch) * room, source = row * room;
  // Clamped again, for the caller's array may have changed since it was checked.
  const std::int32_t length = std::clamp(rows.length[row], 0, static_cast<std::int32_t>(room));
  std::copy_n(rows.frame + row * frames * frame_bytes_, (shape_.context + length) * frame_bytes_,
              frame(branch, 0));
  std::copy_n(rows.action + source, length, &actions_[place]);
  std::copy_n(rows.reward + source, length, &rewards_[place]);
  for (std::int64_t t = 0; t < length; ++t) terminated_[place + t] = rows.terminated[source + t] != 0;
  std::copy_n(rows.member + source, length, &members_[place]);
  lengths_[at(branch)] = length;
  transitions_ += length;
}

void BranchRing::import_branches(const BranchRows& rows, std::int64_t count, std::int64_t from) {
  constexpr const char* op = "BranchRing.import_branches";
  const std::unique_lock lock(mutex_);
  const bool empty = total_ == oldest_;
  MBPO_CHECK(empty ? from >= 0 && from <= kMaxBranch : from == total_, op,
             text("branches that start at ", empty ? text(">= 0") : text(total_)), from);
  check_import(rows, count);
  if (empty) total_ = oldest_ = from;
  for (std::int64_t row = 0; row < count; ++row) store_branch(rows, row);
}

void BranchRing::clear() {
  const std::unique_lock lock(mutex_);
  oldest_ = total_;
  transitions_ = 0;
}

std::int64_t BranchRing::size() const {
  const std::shared_lock lock(mutex_);
  return total_ - oldest_;
}

std::int64_t BranchRing::total() const {
  const std::shared_lock lock(mutex_);
  return total_;
}

std::int64_t BranchRing::num_transitions() const {
  const std::shared_lock lock(mutex_);
  return transitions_;
}

std::int64_t BranchRing::nbytes() const {
  const std::int64_t frames = shape_.capacity * (shape_.context + shape_.horizon) * frame_bytes_;
  const auto step_bytes =
      static_cast<std::int64_t>(sizeof(std::int64_t) + sizeof(float) + 1 + sizeof(std::int16_t));
  return frames + shape_.capacity * (shape_.horizon * step_bytes + 12);
}

}  // namespace mbpo_fast
