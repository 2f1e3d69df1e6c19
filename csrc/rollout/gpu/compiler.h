// Makes a program of a layer list: compile.h for those who write it.
#pragma once

#include <span>
#include <vector>

#include "rollout/gpu/register_plan.h"
#include "rollout/gpu/segment.h"
#include "rollout/gpu/weights.h"

namespace mbpo_fast::gpu {

// One pass over the layers, for one member: its operations and its weights.
class Compiler {
 public:
  Compiler(const Network& network, const float* numbers, Purpose purpose, std::int64_t shared_limit);
  Program run();

 private:
  const std::vector<Layer>& layers() const { return network_.layers(); }
  const Layer& layer(std::int64_t reg) const { return plan_.layer(reg); }
  const Shape& shape(std::int64_t reg) const { return plan_.shape(reg); }
  std::size_t& map_of(std::int64_t reg) { return map_of_[static_cast<std::size_t>(reg)]; }

  // A layer, by the register that it writes.
  void add_layer(std::int64_t reg);
  void add_plain(std::int64_t reg);
  void add_batched(std::int64_t reg);
  void close_segment();

  // Maps and operations that layers have in common.
  Op op_of(std::int64_t reg, OpKind kind);
  std::size_t own_map(std::int64_t reg);
  std::size_t out_map(std::int64_t reg);
  std::size_t read(std::int64_t reg);
  Draft frames_draft(std::int64_t reg, std::int64_t first, std::int64_t frames, std::int64_t border);
  void steer(const Layer& layer, Draft& draft);
  void finish(std::int64_t reg);
  std::int64_t pack_constant(std::int64_t reg);
  void pack_plain(const Layer& layer, Op& op);

  // compile_convolution.cpp.
  // Frames that a convolution takes at a time, and how many of the first one's channels it does not read.
  struct Portion {
    std::int64_t frames, skipped;
  };
  // Where the channels of a convolution's part begin in its weights, and how many there are.
  struct Part {
    std::int64_t first, channels;
    bool is_last;
  };
  void add_convolution(std::int64_t reg);
  Portion portion_of(std::int64_t reg) const;
  Draft convolution_part(std::int64_t reg, const Part& part, std::int64_t skipped);
  std::int64_t cell_area(std::int64_t reg) const;
  std::int64_t pack_convolution(std::int64_t reg, const Part& part, int planes);
  float frame_scale(std::int64_t reg, std::int64_t channel) const;

  const Network& network_;
  const float* numbers_;
  Purpose purpose_;
  std::int64_t shared_limit_;
  RegisterPlan plan_;
  Segment segment_;
  std::vector<std::size_t> map_of_;  // of each register in the segment under way
  WeightWriter writer_;
  Program program_;
};

}  // namespace mbpo_fast::gpu
