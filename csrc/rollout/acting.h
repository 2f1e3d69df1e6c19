// Actions from what a policy's network says.
#pragma once

#include "core/philox.h"
#include "rollout/decisions.h"
#include "rollout/runner.h"

namespace mbpo_fast {

struct Acting {
  std::int64_t actions;
  Choice choice;
  DrawKey key;
};

// An action for each row; a row's draw depends on the key and its lane alone.
void choose_actions(Runner& policy, const StepRows& rows, const Acting& acting,
                    std::vector<std::int64_t>& action);

}  // namespace mbpo_fast
