// What the layers of a network will want of its registers: known before the first of them is compiled.
#pragma once

#include <optional>
#include <vector>

#include "rollout/gpu/compile.h"

namespace mbpo_fast::gpu {

struct PlannedRegister {
  std::size_t segment = 0;
  bool is_half = false;    // the input of a matrix product, of a sum in place, or a copy: bfloat16
  bool is_folded = false;  // an activation that its readers do themselves
  std::int64_t border = 0;
  std::size_t last_reader = 0;
  std::int64_t kept = kNone;  // where in the kept values
};

// The network outlives its plan.
class RegisterPlan {
 public:
  RegisterPlan(const Network& network, Purpose purpose);

  const PlannedRegister& of(std::int64_t reg) const { return registers_[static_cast<std::size_t>(reg)]; }
  const Layer& layer(std::int64_t reg) const { return network_.layers()[static_cast<std::size_t>(reg)]; }
  const Shape& shape(std::int64_t reg) const {
    return network_.registers()[static_cast<std::size_t>(reg)].shape;
  }
  bool is_constant(std::int64_t reg) const { return reg != kNone && layer(reg).kind == LayerKind::kConstant; }
  bool is_frames(std::int64_t reg) const { return layer(reg).kind == LayerKind::kFrames; }
  // A linear layer that is a kernel of its own.
  bool is_batched(std::int64_t reg) const;
  // The first of a register's outputs: elements into the row's outputs.
  std::optional<std::int64_t> output_place(std::int64_t reg) const;
  // What a layer reads once activations are folded.
  std::int64_t input_of(const Layer& layer) const;
  // The register whose map a layer may write over, element by element: what a convolution adds, what is
  // normalised.
  std::int64_t overwritten(const Layer& layer) const;
  std::int64_t kept_of_row() const { return kept_of_row_; }
  std::int64_t outputs_of_row() const { return outputs_of_row_; }

 private:
  std::int64_t count() const { return static_cast<std::int64_t>(registers_.size()); }
  PlannedRegister& own(std::int64_t reg) { return registers_[static_cast<std::size_t>(reg)]; }
  void find_segments();
  void fold_activations();
  bool folds(std::int64_t reg) const;
  void find_readers();
  void prepare_sums();
  void place_kept();

  const Network& network_;
  Purpose purpose_;
  std::vector<PlannedRegister> registers_;
  std::int64_t kept_of_row_ = 0, outputs_of_row_ = 0;
};

}  // namespace mbpo_fast::gpu
