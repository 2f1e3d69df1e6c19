// Imagined branches (Janner et al. 2019, algorithm 2, lines 7-9) in one call: start frames, a policy and an
// ensemble in, branches in the model buffer out. `mbpo_fast.models.RolloutEngine` is the same in torch, and
// the spec: the same draws, and the same arithmetic but for the order of sums.
//
// A step of B rows: the policy's value of each action; the best one, or one drawn from their softmax, or with
// probability epsilon any; a member for each row, drawn anew among the elites; rows grouped by member; the
// member's network on its rows alone, so that an ensemble costs what one network costs; the change put onto
// the newest frame, clipped and rounded to uint8; reward class and end decided; the step appended to the
// buffer; ended rows leave.
//
// Threads take blocks of rows. Within a block a row goes through all layers before the next one begins, so
// that its maps stay in the cache; only a linear layer takes all rows of its block at once, because its
// weights are larger than its inputs. Nothing but frames, actions and decisions crosses a step.
#pragma once

#include <cstdint>
#include <vector>

#include "core/philox.h"
#include "replay/branch_ring.h"
#include "rollout/world.h"

namespace mbpo_fast {

// What the elites' disagreement does to imagined rows. Measuring it runs all elites on every row.
struct Uncertainty {
  bool measured;
  std::int64_t changed_levels;  // a pixel that moves by more counts
  double mask_share;  // of the rows of each step, the most doubtful, that is not written; their branches stop
  float bonus;        // times the disagreement is added to the reward
};

struct RolloutSpec {
  std::int64_t horizon;
  float epsilon;
  bool samples;  // actions, from the softmax of the policy's values; else the best one is taken
  std::vector<std::int64_t> elites;
  bool mean;  // a step is the mean of all elites, and not the word of the drawn one
  Uncertainty uncertainty;
  Thresholds thresholds;
  DrawKey action, member;  // of the first step; each step after it is one further
};

// Throws std::invalid_argument, "[rollout] expected ..., got ...", where the parts do not fit one another.
void check_rollout(const Network& policy, const Network& world, const RolloutSpec& spec, std::int64_t count,
                   const BranchShape& branches);

struct RolloutCount {
  std::int64_t transitions, steps;
  std::int64_t imagined;  // rows, the masked ones included
  double doubt;           // the sum of their disagreement
};

// Rolls `count` branches of at most spec.horizon steps from start u8 [count, C, h, w]. Steps are fewer than
// asked for where all branches ended. Throws std::invalid_argument where the parts do not fit one another;
// nothing is written then.
RolloutCount rollout(const Network& policy, const Network& world, ThreadPool& pool, const RolloutSpec& spec,
                     const std::uint8_t* start, std::int64_t count, BranchRing& ring);

}  // namespace mbpo_fast
