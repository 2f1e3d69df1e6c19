#include "rollout/acting.h"

#include <algorithm>
#include <cmath>

namespace mbpo_fast {

namespace {

std::int64_t best_action(const float* values, std::int64_t actions) {
  return std::max_element(values, values + actions) - values;
}

// Inverse of the cumulative distribution of the softmax of `logits`, for a uniform number in [0, 1).
std::int64_t drawn_action(const float* logits, std::int64_t actions, float uniform) {
  const float most = *std::max_element(logits, logits + actions);
  const auto mass = [&](std::int64_t a) { return static_cast<double>(std::exp(logits[a] - most)); };
  double total = 0.0, reached = 0.0;
  for (std::int64_t a = 0; a < actions; ++a) total += mass(a);
  std::int64_t action = 0;
  for (; action < actions - 1; ++action) {
    reached += mass(action);
    if (reached > static_cast<double>(uniform) * total) break;
  }
  return action;
}

}  // namespace

void choose_actions(Runner& policy, const StepRows& rows, const Acting& acting,
                    std::vector<std::int64_t>& action) {
  policy.run(rows, [&](const Forward& forward, std::int64_t lane, std::int64_t i) {
    const PhiloxWords words = acting.key.words(static_cast<std::uint32_t>(lane));
    const float* values = forward.output(0, i);
    std::int64_t& chosen = action[static_cast<std::size_t>(lane)];
    if (uniform_from(words[0]) < acting.epsilon) {
      chosen = integer_from(words[1], words[2], acting.actions);
    } else {
      chosen = acting.samples ? drawn_action(values, acting.actions, uniform_from(words[3]))
                              : best_action(values, acting.actions);
    }
  });
}

}  // namespace mbpo_fast
