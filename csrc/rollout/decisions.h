// What the numbers of a policy and of a world model decide; on processors and on GPUs.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/gpu.h"
#include "core/philox.h"

namespace mbpo_fast {

inline constexpr std::int64_t kRewardClasses = 3;

// A reward or an end is predicted where its probability passes these.
struct Thresholds {
  float reward, end;
};

// Probabilities of a negative, no and a positive reward, and of the end.
struct Outcome {
  float negative, none, positive, end;
};

MBPO_BOTH inline Outcome outcome_of(const float* logits) {
  float most = logits[0] > logits[1] ? logits[0] : logits[1];
  most = logits[2] > most ? logits[2] : most;
  const float negative = std::exp(logits[0] - most), none = std::exp(logits[1] - most),
              positive = std::exp(logits[2] - most);
  const float sum = negative + none + positive;
  return {negative / sum, none / sum, positive / sum, 1.0f / (1.0f + std::exp(-logits[kRewardClasses]))};
}

// The reward's sign: none unless its probability passes the threshold.
MBPO_BOTH inline float decide_reward(const Outcome& outcome, float threshold) {
  if (!(1.0f - outcome.none > threshold)) return 0.0f;
  return outcome.positive >= outcome.negative ? 1.0f : -1.0f;
}

// The first of the largest.
MBPO_BOTH inline std::int64_t best_action(const float* values, std::int64_t actions) {
  std::int64_t best = 0;
  for (std::int64_t a = 1; a < actions; ++a) best = values[a] > values[best] ? a : best;
  return best;
}

// Inverse of the cumulative distribution of the softmax of `logits`, for a uniform number in [0, 1).
MBPO_BOTH inline std::int64_t drawn_action(const float* logits, std::int64_t actions, float uniform) {
  const float most = logits[best_action(logits, actions)];
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

struct Choice {
  float epsilon;  // share of uniform actions
  bool samples;   // from the softmax of the values; else the best one is taken
};

// words: 0: whether to explore, 1 and 2: the uniform action, 3: the drawn one.
MBPO_BOTH inline std::int64_t choose_action(const PhiloxWords& words, const float* values,
                                            std::int64_t actions, const Choice& choice) {
  if (uniform_from(words[0]) < choice.epsilon) return integer_from(words[1], words[2], actions);
  return choice.samples ? drawn_action(values, actions, uniform_from(words[3]))
                        : best_action(values, actions);
}

}  // namespace mbpo_fast
