// Actions from what a policy's network says.
#pragma once

#include "core/philox.h"
#include "rollout/runner.h"

namespace mbpo_fast {

struct Acting {
  std::int64_t actions;
  float epsilon;  // share of uniform actions
  bool samples;   // from the softmax of the values; else the best one is taken
  DrawKey key;    // word 0: whether to explore, 1 and 2: the uniform action, 3: the drawn one
};

// An action for each row; a row's draw depends on the key and its lane alone.
void choose_actions(Runner& policy, const StepRows& rows, const Acting& acting,
                    std::vector<std::int64_t>& action);

}  // namespace mbpo_fast
