// Emulator screens to network frames: maximum of the last two gray screens, then an area resize.
#pragma once

#include <cstdint>

#include "preprocess/area_table.h"

namespace mbpo_fast {

struct PreprocessShape {
  std::int64_t count;
  std::int64_t source_height, source_width;
  std::int64_t height, width;
};

// frames [count, 2, source_height, source_width], out [count, height, width]; both owned by the caller.
// Throws std::invalid_argument where a size is zero or larger than its source.
void preprocess_frames(const std::uint8_t* frames, const PreprocessShape& shape, std::uint8_t* out);

// Bytes of scratch are the dispatcher's: row holds source_width floats, line and sum hold width floats each.
struct PreprocessScratch {
  float* row;
  float* line;
  float* sum;
};

// One kernel per instruction set: screens [2, source_height, source_width] -> out [height, width].
using PreprocessKernel = void (*)(const std::uint8_t* screens, const PreprocessShape& shape,
                                  const AreaTable& rows, const AreaTable& columns,
                                  const PreprocessScratch& scratch, std::uint8_t* out);

void preprocess_baseline(const std::uint8_t* screens, const PreprocessShape& shape, const AreaTable& rows,
                         const AreaTable& columns, const PreprocessScratch& scratch, std::uint8_t* out);

}  // namespace mbpo_fast
