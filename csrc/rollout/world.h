// One step of a world model: what its network says, made into frames and decisions.
#pragma once

#include "rollout/decisions.h"
#include "rollout/runner.h"

namespace mbpo_fast {

struct StepOut {
  std::uint8_t* frame;  // [B, h, w]
  float* reward;        // in {-1, 0, 1}
  std::uint8_t* terminated;
};

// A network with two outputs. The first is a map of changes: of one number a pixel (cells as in
// kDepthToSpace) it is the change in units of 255 gray levels; of two, log odds that the pixel changes at
// all, then the change. The second is four logits: of a negative, no and a positive reward, and of the end.
// cell_of_world: pixels a side of a cell of that map. Throws std::invalid_argument for other outputs.
std::int64_t cell_of_world(const Network& world);

// Throws std::invalid_argument for one that is not a number: nothing passes it.
void check_thresholds(const char* op, const Thresholds& thresholds);

class WorldRunner {
 public:
  // Throws std::invalid_argument for a network with other outputs.
  WorldRunner(const Network& world, ThreadPool& pool, std::int64_t rows);

  void step(const Thresholds& thresholds, const StepRows& rows, const StepOut& out);
  // Into frame [B, h, w] and outcome [B].
  void predict(const StepRows& rows, std::uint8_t* frame, Outcome* outcome);
  const NetworkInput& input() const { return world_.input(); }

 private:
  const Network& world_;
  std::int64_t cell_;  // pixels a side of a cell of the map
  Runner runner_;
  std::vector<Outcome> outcomes_;
};

}  // namespace mbpo_fast
