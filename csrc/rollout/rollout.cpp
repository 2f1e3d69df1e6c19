#include "rollout/rollout.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "core/check.h"
#include "rollout/world.h"

namespace mbpo_fast {

namespace {

constexpr const char* kOp = "rollout";
// Steps that a row's frames have room for before they move back to the start of their window.
constexpr std::int64_t kWindowSteps = 4;

std::string frames_text(const NetworkInput& input) {
  return text(input.height, "x", input.width);
}

std::string map_text(const Shape& shape) {
  return text("[", shape.height, ",", shape.width, ",", shape.channels, "]");
}

bool asks_for_action(const Network& network) {
  return std::any_of(network.layers().begin(), network.layers().end(),
                     [](const Layer& layer) { return layer.film != kNone; });
}

// The rows that are under way; lane i of a step is branch branches[i].
class Branches {
 public:
  Branches(const std::uint8_t* start, std::int64_t count, const NetworkInput& input, std::int64_t horizon)
      : frame_(input.height * input.width),
        context_(input.context),
        window_(input.context + std::min(horizon, kWindowSteps)),
        frames_(std::make_unique_for_overwrite<std::uint8_t[]>(
            static_cast<std::size_t>(count * window_ * frame_))),
        branches_(static_cast<std::size_t>(count)) {
    for (std::int64_t b = 0; b < count; ++b) {
      branches_[static_cast<std::size_t>(b)] = b;
      copy(start + b * context_ * frame_, context_, at(b, 0));
    }
  }

  std::int64_t count() const { return static_cast<std::int64_t>(branches_.size()); }
  const std::vector<std::int64_t>& branches() const { return branches_; }

  // The newest `context` frames of each lane.
  std::vector<const std::uint8_t*> newest(std::int64_t context) const {
    std::vector<const std::uint8_t*> frames;
    for (const std::int64_t b : branches_) frames.push_back(at(b, first_ + context_ - context));
    return frames;
  }

  // Each lane's new frame, [count, h, w]; ended lanes leave.
  void advance(const std::uint8_t* frame, const std::vector<std::uint8_t>& terminated) {
    std::size_t alive = 0;
    const bool full = first_ + context_ == window_;
    for (std::size_t i = 0; i < branches_.size(); ++i) {
      if (terminated[i]) continue;
      const std::int64_t b = branches_[i];
      if (full) std::memmove(at(b, 0), at(b, first_), static_cast<std::size_t>(context_ * frame_));
      copy(frame + static_cast<std::int64_t>(i) * frame_, 1, at(b, (full ? 0 : first_) + context_));
      branches_[alive++] = b;
    }
    branches_.resize(alive);
    first_ = full ? 1 : first_ + 1;
  }

 private:
  std::uint8_t* at(std::int64_t branch, std::int64_t frame) const {
    return frames_.get() + (branch * window_ + frame) * frame_;
  }
  void copy(const std::uint8_t* from, std::int64_t frames, std::uint8_t* to) const {
    std::memcpy(to, from, static_cast<std::size_t>(frames * frame_));
  }

  std::int64_t frame_, context_, window_;
  std::int64_t first_ = 0;                  // of the context in its window
  std::unique_ptr<std::uint8_t[]> frames_;  // [count, window, h, w]
  std::vector<std::int64_t> branches_;
};

void choose_actions(Runner& policy, const StepRows& rows, const RolloutSpec& spec, std::int64_t actions,
                    const DrawKey& key, std::vector<std::int64_t>& action) {
  policy.run(rows, [&](const Forward& forward, std::int64_t lane, std::int64_t i) {
    action[static_cast<std::size_t>(lane)] =
        choose_action(key.words(static_cast<std::uint32_t>(lane)), forward.output(0, i), actions,
                      {spec.epsilon, spec.samples});
  });
}

// New branches from their real frames; the first id.
std::int64_t begin(BranchRing& ring, const std::vector<const std::uint8_t*>& newest) {
  const std::int64_t bytes = ring.shape().context * ring.shape().height * ring.shape().width;
  std::vector<std::uint8_t> start(newest.size() * static_cast<std::size_t>(bytes));
  for (std::size_t i = 0; i < newest.size(); ++i) {
    std::copy_n(newest[i], bytes, start.data() + static_cast<std::int64_t>(i) * bytes);
  }
  return ring.begin(start.data(), static_cast<std::int64_t>(newest.size()));
}

}  // namespace

void check_rollout(const Network& policy, const Network& world, const RolloutSpec& spec, std::int64_t count,
                   const BranchShape& branches) {
  const NetworkInput &seen = policy.input(), &input = world.input();
  const auto same_frames = [](const NetworkInput& a, std::int64_t height, std::int64_t width) {
    return a.height == height && a.width == width;
  };
  MBPO_CHECK(same_frames(seen, input.height, input.width) && seen.actions == input.actions, kOp,
             text("a policy of ", frames_text(input), " frames and ", input.actions, " actions"),
             text(frames_text(seen), ", ", seen.actions));
  MBPO_CHECK(seen.context <= input.context, kOp,
             text("a policy that sees at most the world model's ", input.context, " frames"), seen.context);
  MBPO_CHECK(policy.members() == 1 && policy.outputs().size() == 1 && !asks_for_action(policy) &&
                 policy.output_shape(0) == (Shape{1, 1, seen.actions}),
             kOp, text("a policy of one member and one output [1,1,", seen.actions, "]"),
             text(policy.members(), " members, ", policy.outputs().size(), " outputs, the first ",
                  map_text(policy.output_shape(0))));
  MBPO_CHECK(same_frames(input, branches.height, branches.width) && branches.context <= input.context, kOp,
             text("a buffer of ", frames_text(input), " frames and a context of at most ", input.context),
             text(branches.height, "x", branches.width, ", ", branches.context));
  MBPO_CHECK(spec.horizon >= 1 && spec.horizon <= branches.horizon, kOp,
             text("1 <= horizon <= the buffer's ", branches.horizon), spec.horizon);
  MBPO_CHECK(count >= 1 && count <= branches.capacity, kOp, text("1 to ", branches.capacity, " branches"),
             count);
  MBPO_CHECK(spec.epsilon >= 0.0f && spec.epsilon <= 1.0f, kOp, "0 <= epsilon <= 1", spec.epsilon);
  MBPO_CHECK(!spec.elites.empty(), kOp, "at least one elite", "none");
  for (const std::int64_t elite : spec.elites) {
    MBPO_CHECK(elite >= 0 && elite < world.members(), kOp, text("elites in [0, ", world.members(), ")"),
               elite);
  }
}

RolloutCount rollout(const Network& policy, const Network& world, ThreadPool& pool, const RolloutSpec& spec,
                     const std::uint8_t* start, std::int64_t count, BranchRing& ring) {
  check_rollout(policy, world, spec, count, ring.shape());
  const NetworkInput& input = world.input();
  WorldRunner model(world, pool, count);
  Runner chooser(policy, pool, count);
  Branches rows(start, count, input, spec.horizon);
  const auto frame_bytes = static_cast<std::size_t>(input.height * input.width);
  const auto room = static_cast<std::size_t>(count);
  std::vector<std::int64_t> ids(room), action(room), member(room);
  const std::vector<std::int64_t> only(room);  // the policy has one member
  std::vector<std::int16_t> member_ids(room);
  std::vector<float> reward(room);
  std::vector<std::uint8_t> frame(room * frame_bytes);
  const std::int64_t first = begin(ring, rows.newest(ring.shape().context));
  RolloutCount done{};
  for (; done.steps < spec.horizon && rows.count(); ++done.steps) {
    const std::int64_t lanes = rows.count();
    DrawKey acts = spec.action, draws = spec.member;
    acts.step += static_cast<std::uint64_t>(done.steps), draws.step += static_cast<std::uint64_t>(done.steps);
    const auto seen = rows.newest(policy.input().context), context = rows.newest(input.context);
    choose_actions(chooser, {seen.data(), nullptr, only.data(), lanes}, spec, input.actions, acts, action);
    for (std::int64_t i = 0; i < lanes; ++i) {
      const PhiloxWords words = draws.words(static_cast<std::uint32_t>(i));
      const auto pick = integer_from(words[0], words[1], static_cast<std::int64_t>(spec.elites.size()));
      const auto lane = static_cast<std::size_t>(i);
      member[lane] = spec.elites[static_cast<std::size_t>(pick)];
      member_ids[lane] = static_cast<std::int16_t>(member[lane]);
      ids[lane] = first + rows.branches()[lane];
    }
    std::vector<std::uint8_t> terminated(static_cast<std::size_t>(lanes));
    model.step(spec.thresholds, {context.data(), action.data(), member.data(), lanes},
               {frame.data(), reward.data(), terminated.data()});
    ring.append(ids.data(), lanes,
                {frame.data(), action.data(), reward.data(), terminated.data(), member_ids.data()});
    done.transitions += lanes;
    rows.advance(frame.data(), terminated);
  }
  return done;
}

}  // namespace mbpo_fast
