#include "rollout/acting.h"

namespace mbpo_fast {

void choose_actions(Runner& policy, const StepRows& rows, const Acting& acting,
                    std::vector<std::int64_t>& action) {
  policy.run(rows, [&](const Forward& forward, std::int64_t lane, std::int64_t i) {
    const PhiloxWords words = acting.key.words(static_cast<std::uint32_t>(lane));
    action[static_cast<std::size_t>(lane)] =
        choose_action(words, forward.output(0, i), acting.actions, acting.choice);
  });
}

}  // namespace mbpo_fast
