// preprocess_frames (preprocess.h) on a GPU: the same tables, the same bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "preprocess/plan.h"

namespace mbpo_fast::gpu {

// The tables of a resize as bytes, which the caller copies to the device; sizes as in PreprocessShape.
class GpuPreprocess {
 public:
  // Throws std::invalid_argument where a size is zero or larger than its source.
  GpuPreprocess(std::int64_t source_height, std::int64_t source_width, std::int64_t height,
                std::int64_t width);

  const std::vector<unsigned char>& bytes() const { return bytes_; }

  // frames [count, 2, source_height, source_width], out [count, height, width] and `tables`, the bytes, in
  // device memory; launches on the caller's stream.
  void run(const unsigned char* tables, const std::uint8_t* frames, std::int64_t count, std::uint8_t* out,
           std::intptr_t stream) const;

 private:
  PreprocessPlan plan_;
  std::vector<unsigned char> bytes_;
  std::int64_t columns_at_ = 0;
};

}  // namespace mbpo_fast::gpu
