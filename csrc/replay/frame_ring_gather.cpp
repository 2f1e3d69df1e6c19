#include <algorithm>
#include <cstring>
#include <mutex>

#include "core/check.h"
#include "replay/frame_ring.h"

namespace mbpo_fast {

// The return runs to the episode's end, but n_step at most. check_rows holds that a first frame follows every
// end; one that follows no end is a cut, and counts as a truncation.
FrameRing::Row FrameRing::resolve(std::int64_t id, const GatherSpec& spec) const {
  const std::int64_t start = id / num_envs_, lane = id % num_envs_;
  double total = 0.0, weight = 1.0;
  std::int64_t steps = 0;
  bool ended = false;
  while (steps < spec.n_step && !ended) {
    const std::int64_t slot = start + ++steps;
    total += weight * static_cast<double>(rewards_[at(lane, slot)]);
    weight *= spec.gamma;
    ended = steps < spec.n_step && is_first(lane, slot + 1);
  }
  const bool terminated = flags(lane, start + steps) & kTerminated;
  return {lane,      start, steps, static_cast<float>(total), terminated ? 0.0f : static_cast<float>(weight),
          terminated};
}

void FrameRing::copy_stack(std::int64_t lane, std::int64_t slot, std::int64_t context, Padding padding,
                           std::uint8_t* out) const {
  std::int64_t begin = slot;
  while (begin > slot - context + 1 && !is_first(lane, begin)) --begin;
  const std::uint8_t* earliest = frame_at(at(lane, begin));
  for (std::int64_t missing = begin - (slot - context + 1); missing > 0; --missing, out += frame_bytes_) {
    if (padding == Padding::kZero) {
      std::memset(out, 0, static_cast<std::size_t>(frame_bytes_));
    } else {
      std::memcpy(out, earliest, static_cast<std::size_t>(frame_bytes_));
    }
  }
  const std::int64_t count = slot - begin + 1;
  const std::int64_t run = std::min(count, capacity_ - begin % capacity_);
  std::memcpy(out, earliest, static_cast<std::size_t>(run * frame_bytes_));
  const std::uint8_t* wrapped = frame_at(lane * capacity_);
  std::memcpy(out + run * frame_bytes_, wrapped, static_cast<std::size_t>((count - run) * frame_bytes_));
}

// All ids are resolved before the first write, from one read of each: a bad one leaves the outputs as they
// were.
void FrameRing::gather(const std::int64_t* ids, std::int64_t batch, const GatherSpec& spec,
                       const GatherOut& out) const {
  constexpr const char* op = "FrameRing.gather";
  check_n_step(op, spec.n_step);
  check_gamma(op, spec.gamma);
  check_context(op, spec.context);
  MBPO_CHECK(out.next_obs || spec.n_step == 1, op, "n_step 1 for windows", spec.n_step);
  std::vector<std::int64_t> wanted(ids, ids + batch);
  std::vector<Row> rows;
  rows.reserve(wanted.size());
  const std::shared_lock lock(mutex_);
  for (const std::int64_t id : wanted) {
    MBPO_CHECK(is_valid(id, spec.n_step, spec.context), op,
               text("ids of stored transitions (n_step ", spec.n_step, ", context ", spec.context, ")"), id);
    rows.push_back(resolve(id, spec));
  }
  row_copies_.run(batch, [&](std::int64_t b) { copy_row(rows[static_cast<std::size_t>(b)], spec, b, out); });
}

void FrameRing::copy_row(const Row& row, const GatherSpec& spec, std::int64_t b, const GatherOut& out) const {
  const std::int64_t stack_bytes = spec.context * frame_bytes_;
  if (out.next_obs) {
    copy_stack(row.lane, row.start, spec.context, spec.padding, out.obs + b * stack_bytes);
    copy_stack(row.lane, row.start + row.steps, spec.context, spec.padding, out.next_obs + b * stack_bytes);
  } else {
    const std::int64_t window_bytes = stack_bytes + frame_bytes_;
    copy_stack(row.lane, row.start + 1, spec.context + 1, spec.padding, out.obs + b * window_bytes);
  }
  out.action[b] = actions_[at(row.lane, row.start + 1)];
  out.reward[b] = row.reward;
  out.discount[b] = row.discount;
  out.terminated[b] = row.terminated;
}

void FrameRing::outcomes(const std::int64_t* ids, std::int64_t batch, float* reward,
                         std::uint8_t* terminated) const {
  const std::vector<std::int64_t> wanted(ids, ids + batch);
  const std::shared_lock lock(mutex_);
  for (const std::int64_t id : wanted) {
    MBPO_CHECK(is_valid(id, 1, 1), "FrameRing.outcomes", "ids of stored transitions", id);
  }
  for (const std::int64_t id : wanted) {
    const std::int64_t place = at(id % num_envs_, id / num_envs_ + 1);
    *reward++ = rewards_[place];
    *terminated++ = (flags_[place] & kTerminated) != 0;
  }
}

void FrameRing::stacks(const std::int64_t* ids, std::int64_t batch, std::int64_t context, Padding padding,
                       std::uint8_t* out) const {
  constexpr const char* op = "FrameRing.stacks";
  check_context(op, context);
  const std::vector<std::int64_t> wanted(ids, ids + batch);
  const std::shared_lock lock(mutex_);
  for (const std::int64_t id : wanted) {
    MBPO_CHECK(is_valid(id, 0, context), op, text("ids of stored frames (context ", context, ")"), id);
  }
  row_copies_.run(batch, [&](std::int64_t b) {
    const std::int64_t id = wanted[static_cast<std::size_t>(b)];
    copy_stack(id % num_envs_, id / num_envs_, context, padding, out + b * context * frame_bytes_);
  });
}

}  // namespace mbpo_fast
