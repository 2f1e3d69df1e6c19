#include "rollout/rollout.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "core/check.h"
#include "rollout/acting.h"
#include "rollout/branches.h"
#include "rollout/consensus.h"
#include "rollout/layer_rules.h"

namespace mbpo_fast {

namespace {

constexpr const char* kOp = "rollout";

std::string frames_text(const NetworkInput& input) {
  return text(input.height, "x", input.width);
}

bool asks_for_action(const Network& network) {
  return std::any_of(network.layers().begin(), network.layers().end(),
                     [](const Layer& layer) { return layer.film != kNone; });
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

// The rows to write: all but the share of highest doubt; of equal ones the earlier row is left out.
std::vector<std::uint8_t> kept_rows(const std::vector<float>& doubt, std::int64_t lanes, double mask_share) {
  std::vector<std::uint8_t> kept(static_cast<std::size_t>(lanes), 1);
  std::vector<std::size_t> order(kept.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return doubt[a] > doubt[b]; });
  order.resize(static_cast<std::size_t>(static_cast<double>(lanes) * mask_share));
  for (const std::size_t lane : order) kept[lane] = 0;
  return kept;
}

DrawKey later(DrawKey key, std::int64_t steps) {
  key.step += static_cast<std::uint64_t>(steps);
  return key;
}

// One call of rollout(): its rows, and what a step makes of each lane.
class Rollout {
 public:
  Rollout(const Network& policy, const Network& world, ThreadPool& pool, const RolloutSpec& spec,
          const std::uint8_t* start, std::int64_t count, BranchRing& ring)
      : spec_(spec),
        ring_(ring),
        policy_(policy),
        input_(world.input()),
        chooser_(policy, pool, count),
        model_(world, pool, count),
        consensus_(model_, pool, spec.elites),
        rows_(start, count, input_, spec.horizon),
        only_(static_cast<std::size_t>(count)),
        action_(only_.size()),
        member_(only_.size()),
        reward_(only_.size()),
        doubt_(only_.size()),
        terminated_(only_.size()),
        frame_(only_.size() * static_cast<std::size_t>(input_.height * input_.width)) {}

  RolloutCount run() {
    first_ = begin(ring_, rows_.newest(ring_.shape().context));
    RolloutCount done{};
    for (; done.steps < spec_.horizon && rows_.count(); ++done.steps) {
      act(later(spec_.action, done.steps));
      draw_members(later(spec_.member, done.steps));
      imagine();
      for (std::int64_t i = 0; i < rows_.count(); ++i) done.doubt += static_cast<double>(at(doubt_, i));
      done.imagined += rows_.count();
      done.transitions += write();
    }
    return done;
  }

 private:
  template <class T>
  static T& at(std::vector<T>& values, std::int64_t lane) {
    return values[static_cast<std::size_t>(lane)];
  }

  void act(const DrawKey& key) {
    const auto seen = rows_.newest(policy_.input().context);
    choose_actions(chooser_, {seen.data(), nullptr, only_.data(), rows_.count()},
                   {input_.actions, {spec_.epsilon, spec_.samples}, key}, action_);
  }

  void draw_members(const DrawKey& key) {
    const auto elites = static_cast<std::int64_t>(spec_.elites.size());
    for (std::int64_t i = 0; i < rows_.count(); ++i) {
      const PhiloxWords words = key.words(static_cast<std::uint32_t>(i));
      const std::int64_t pick = integer_from(words[0], words[1], elites);
      at(member_, i) = spec_.elites[static_cast<std::size_t>(pick)];
    }
  }

  void imagine() {
    const auto context = rows_.newest(input_.context);
    const StepRows rows{context.data(), action_.data(), member_.data(), rows_.count()};
    const StepOut out{frame_.data(), reward_.data(), terminated_.data()};
    if (!spec_.mean && !spec_.uncertainty.measured) return model_.step(spec_.thresholds, rows, out);
    consensus_.step({spec_.thresholds, spec_.mean, static_cast<int>(spec_.uncertainty.changed_levels)}, rows,
                    out, doubt_.data());
    if (spec_.uncertainty.bonus == 0.0f) return;
    for (std::int64_t i = 0; i < rows.count; ++i) {
      at(reward_, i) += spec_.uncertainty.bonus * at(doubt_, i);
    }
  }

  // The kept lanes into the buffer; ended ones leave. How many were written.
  std::int64_t write() {
    if (spec_.uncertainty.mask_share > 0.0) {
      keep(kept_rows(doubt_, rows_.count(), spec_.uncertainty.mask_share));
    }
    const std::int64_t lanes = rows_.count();
    if (!lanes) return 0;
    std::vector<std::int64_t> ids;
    for (const std::int64_t branch : rows_.branches()) ids.push_back(first_ + branch);
    const std::vector<std::int16_t> members(member_.begin(), member_.begin() + lanes);
    ring_.append(ids.data(), lanes,
                 {frame_.data(), action_.data(), reward_.data(), terminated_.data(), members.data()});
    rows_.advance(frame_.data(), terminated_);
    return lanes;
  }

  // Lanes that are not kept leave, the others move up.
  void keep(const std::vector<std::uint8_t>& kept) {
    const std::int64_t bytes = input_.height * input_.width;
    std::int64_t to = 0;
    for (std::int64_t lane = 0; lane < rows_.count(); ++lane) {
      if (!kept[static_cast<std::size_t>(lane)]) continue;
      std::memmove(&at(frame_, to * bytes), &at(frame_, lane * bytes), static_cast<std::size_t>(bytes));
      at(action_, to) = at(action_, lane), at(member_, to) = at(member_, lane);
      at(reward_, to) = at(reward_, lane), at(terminated_, to) = at(terminated_, lane);
      ++to;
    }
    rows_.keep(kept);
  }

  const RolloutSpec& spec_;
  BranchRing& ring_;
  const Network& policy_;
  const NetworkInput& input_;
  Runner chooser_;
  WorldRunner model_;
  Consensus consensus_;
  Branches rows_;
  std::vector<std::int64_t> only_;  // the policy has one member
  std::vector<std::int64_t> action_, member_;
  std::vector<float> reward_, doubt_;
  std::vector<std::uint8_t> terminated_, frame_;
  std::int64_t first_ = 0;  // id of the first branch
};

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
                  shape_text(policy.output_shape(0))));
  MBPO_CHECK(same_frames(input, branches.height, branches.width) && branches.context <= input.context, kOp,
             text("a buffer of ", frames_text(input), " frames and a context of at most ", input.context),
             text(branches.height, "x", branches.width, ", ", branches.context));
  MBPO_CHECK(spec.horizon >= 1 && spec.horizon <= branches.horizon, kOp,
             text("1 <= horizon <= the buffer's ", branches.horizon), spec.horizon);
  MBPO_CHECK(count >= 1 && count <= branches.capacity, kOp, text("1 to ", branches.capacity, " branches"),
             count);
  MBPO_CHECK(spec.epsilon >= 0.0f && spec.epsilon <= 1.0f, kOp, "0 <= epsilon <= 1", spec.epsilon);
  const Uncertainty& uncertainty = spec.uncertainty;
  MBPO_CHECK(uncertainty.mask_share >= 0.0 && uncertainty.mask_share < 1.0, kOp, "0 <= mask_share < 1",
             uncertainty.mask_share);
  MBPO_CHECK(uncertainty.bonus >= 0.0f && std::isfinite(uncertainty.bonus), kOp, "bonus >= 0",
             uncertainty.bonus);
  MBPO_CHECK(uncertainty.measured || (uncertainty.mask_share == 0.0 && uncertainty.bonus == 0.0f), kOp,
             "mask_share and bonus only where the disagreement is measured",
             text(uncertainty.mask_share, ", ", uncertainty.bonus));
  MBPO_CHECK(uncertainty.changed_levels >= 0 && uncertainty.changed_levels <= 255, kOp,
             "0 <= changed_levels <= 255", uncertainty.changed_levels);
  check_thresholds(kOp, spec.thresholds);
  MBPO_CHECK(!spec.elites.empty(), kOp, "at least one elite", "none");
  for (const std::int64_t elite : spec.elites) {
    MBPO_CHECK(elite >= 0 && elite < world.members(), kOp, text("elites in [0, ", world.members(), ")"),
               elite);
  }
}

RolloutCount rollout(const Network& policy, const Network& world, ThreadPool& pool, const RolloutSpec& spec,
                     const std::uint8_t* start, std::int64_t count, BranchRing& ring) {
  check_rollout(policy, world, spec, count, ring.shape());
  return Rollout(policy, world, pool, spec, start, count, ring).run();
}

}  // namespace mbpo_fast
