// Runs a network on blocks of rows: all layers for one row, then the next row, so that maps stay in the
// cache.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "rollout/kernels.h"
#include "rollout/network.h"

namespace mbpo_fast {

// Rows of a batch that one member runs.
struct RowBlock {
  const std::uint8_t* const* frames;   // [B], each u8 [context, height, width]
  const std::int64_t* action;          // [B]; null where the network asks for none
  std::span<const std::int64_t> rows;  // of the batch
  std::int64_t member;
};

// Scratch memory for one network on one thread.
class Forward {
 public:
  Forward(const Network& network, std::int64_t most_rows);

  // Runs the block's rows, at most `most_rows`, and calls consume(i) for the i-th of them when output() holds
  // its results.
  void run(const RowBlock& block, const std::function<void(std::int64_t)>& consume);

  // First cell of the given output for the block's i-th row; cells and lines as in its Register.
  const float* output(std::size_t which, std::int64_t i) const;
  const Register& output_register(std::size_t which) const;

 private:
  MapView view(std::int64_t reg, std::int64_t i) const;
  const float* at(std::int64_t reg, std::int64_t i) const;
  float* own(std::size_t layer, std::int64_t i);
  const Register& place(std::int64_t reg) const;
  void run_layer(std::size_t layer, const RowBlock& block, std::int64_t i);
  void means(std::size_t layer, const RowBlock& block, std::int64_t i);
  void cells(std::size_t layer, const RowBlock& block, std::int64_t i, std::int64_t first,
             std::int64_t count);
  void stream(std::size_t layer, const RowBlock& block, std::int64_t i, const Epilogue& epilogue);
  void convolve(std::size_t layer, const RowBlock& block, std::int64_t i);
  void window_sum(std::size_t layer, const WindowSum<float>& call, const float* begin, std::int64_t count);
  void winograd_sum(std::size_t layer, const WinogradSum<float>& call);
  void linear(std::size_t layer, const RowBlock& block, std::int64_t first, std::int64_t count);
  void normalise(std::size_t layer, const RowBlock& block, std::int64_t i);
  void concatenate(std::size_t layer, std::int64_t i);
  void map_cells(std::size_t layer, const RowBlock& block, std::int64_t i);
  void pool(std::size_t layer, std::int64_t i);
  void depth_to_space(std::size_t layer, std::int64_t i);
  void expectation(std::size_t layer, const RowBlock& block, std::int64_t i);
  const float* film(std::size_t layer, const RowBlock& block, std::int64_t i) const;
  const float* scales(std::size_t layer, const RowBlock& block, std::int64_t i);

  const Network& network_;
  std::int64_t member_ = 0;          // of the block under way
  std::vector<std::int64_t> start_;  // of each register in memory_
  AlignedFloats memory_;             // borders and unused channels stay zero
  AlignedFloats scratch_, scales_;
  AlignedVector<Bf16> bf16_;  // what the sum under way multiplies
  std::vector<std::int32_t> cell_sums_;
};

}  // namespace mbpo_fast
