// Steps that ask all elites about every row: the mean of their words, or the drawn one's, and their
// disagreement.
#pragma once

#include "rollout/world.h"

namespace mbpo_fast {

struct ConsensusSpec {
  Thresholds thresholds;
  bool mean;           // of all elites; else the word of each row's member
  int changed_levels;  // a pixel that moves by more counts for the disagreement
};

class Consensus {
 public:
  Consensus(WorldRunner& model, ThreadPool& pool, std::span<const std::int64_t> elites);

  // As WorldRunner::step; every row's member is an elite. doubt [B]: the mean standard deviation, over the
  // elites, of the pixels that any of them changes, in units of 255 levels, plus that of the probability of a
  // reward.
  void step(const ConsensusSpec& spec, const StepRows& rows, const StepOut& out, float* doubt);

 private:
  void ask(const StepRows& rows);
  void combine(const ConsensusSpec& spec, const StepRows& rows, std::int64_t i, const StepOut& out,
               float* doubt) const;

  WorldRunner& model_;
  ThreadPool& pool_;
  std::vector<std::int64_t> elites_;
  std::int64_t pixels_;
  std::int64_t rows_ = 0;             // asked about now
  std::vector<std::uint8_t> frames_;  // [elites, rows, h, w]
  std::vector<Outcome> outcomes_;     // [elites, rows]
};

}  // namespace mbpo_fast
