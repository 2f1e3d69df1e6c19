// The settings that both rollouts take.
#pragma once

#include <vector>

#include "bindings/arguments.h"
#include "rollout/rollout.h"

namespace mbpo_fast::bindings {

inline RolloutSpec rollout_spec(const char* op, const Integer& horizon, float epsilon, bool samples,
                                const Array<std::int64_t>& elites, bool mean, bool measured,
                                const Integer& changed_levels, double mask_share, float bonus,
                                float reward_threshold, float end_threshold, const Integer& seed,
                                const Integer& action_stream, const Integer& member_stream,
                                const Integer& step) {
  const py::ssize_t members = length(op, "elites", elites);
  const std::int64_t* drawn = read(op, "elites", elites, {members});
  return {int64(op, "horizon", horizon),
          epsilon,
          samples,
          std::vector<std::int64_t>(drawn, drawn + members),
          mean,
          {measured, int64(op, "changed_levels", changed_levels), mask_share, bonus},
          {reward_threshold, end_threshold},
          draw_key(op, seed, action_stream, step),
          draw_key(op, seed, member_stream, step)};
}

}  // namespace mbpo_fast::bindings
