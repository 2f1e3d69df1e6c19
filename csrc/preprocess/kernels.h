// The inner loops of the frame pipeline, one set for each instruction set.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "preprocess/plan.h"

namespace mbpo_fast {

// Words that a kernel may read past the end of a line; what is there has weight 0.
constexpr std::int64_t kLinePadding = 64;
// Ties, pixels whose sum is an exact half, are noted by number and resolved together: not more than about so
// many, of not more pixels than these.
constexpr std::int64_t kTiesAtOnce = 1024, kTiePixels = 1 << 20;
constexpr std::int64_t kTiePadding = 16;  // entries that a kernel may write after the last one
// Lines between the two passes: loads that come soon after wide stores to the same words would wait for them.
constexpr std::int64_t kLines = 4;

// The last two screens, [source_height, source_width] each; a frame is made of their maximum.
struct Screens {
  const std::uint8_t* first;
  const std::uint8_t* second;
};

struct PreprocessScratch {
  std::uint16_t* lines;  // [kLines, source_width + kLinePadding]: rows summed, columns not yet
  std::int32_t* ties;    // [kTiesAtOnce + 2 * width + kTiePadding]
};

struct PreprocessKernels {
  // screens -> out [height, width] by whole numbers; the plan's divisor must not be 0.
  void (*shrink)(const Screens& screens, const PreprocessPlan& plan, const PreprocessScratch& scratch,
                 std::uint8_t* out);
  // See look_up_gray.
  std::uint8_t (*look_up)(const std::uint8_t* screen, const std::uint8_t* table, const std::uint8_t* over,
                          std::int64_t count, std::uint8_t* out);
};

extern const PreprocessKernels kPreprocessBaseline;
extern const PreprocessKernels kPreprocessAvx2;
extern const PreprocessKernels kPreprocessAvx512;

const PreprocessKernels& preprocess_kernels(Isa isa);

// The general path, in OpenCV's order of float32 additions: the columns of a row first, then rows downwards.
void shrink_float(const Screens& screens, const PreprocessPlan& plan, std::uint8_t* out);
// One pixel of it: row y, column x.
std::uint8_t float_pixel(const Screens& screens, const PreprocessPlan& plan, std::int64_t y, std::int64_t x);

}  // namespace mbpo_fast
