// What the logits of a world model decide; on processors and on GPUs.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/gpu.h"

namespace mbpo_fast {

inline constexpr std::int64_t kRewardClasses = 3;

// A reward or an end is predicted where its probability passes these.
struct Thresholds {
  float reward, end;
};

// The sign of the reward: none unless its probability passes the threshold.
MBPO_BOTH inline float decide_reward(const float* logits, float threshold) {
  float most = logits[0] > logits[1] ? logits[0] : logits[1];
  most = logits[2] > most ? logits[2] : most;
  const float negative = std::exp(logits[0] - most), none = std::exp(logits[1] - most),
              positive = std::exp(logits[2] - most);
  const float rewarded = 1.0f - none / (negative + none + positive);
  return rewarded > threshold ? (positive >= negative ? 1.0f : -1.0f) : 0.0f;
}

MBPO_BOTH inline bool decide_end(float logit, float threshold) {
  return 1.0f / (1.0f + std::exp(-logit)) > threshold;
}

}  // namespace mbpo_fast
