#include "preprocess/preprocess.h"

#include <vector>

#include "core/check.h"

namespace mbpo_fast {

namespace {

constexpr const char* kOp = "preprocess_frames";

// The place where the kernel of the instruction set in use is chosen.
constexpr PreprocessKernel kKernel = preprocess_baseline;

void check_axis(const char* axis, std::int64_t source, std::int64_t size) {
  MBPO_CHECK(source >= 1 && size >= 1 && size <= source, kOp,
             text("1 <= ", axis, " <= the source's ", axis, " (an area resize only shrinks)"),
             text(size, " from ", source));
}

}  // namespace

void preprocess_frames(const std::uint8_t* frames, const PreprocessShape& shape, std::uint8_t* out) {
  check_axis("height", shape.source_height, shape.height);
  check_axis("width", shape.source_width, shape.width);
  const AreaTable rows = make_area_table(shape.source_height, shape.height);
  const AreaTable columns = make_area_table(shape.source_width, shape.width);
  std::vector<float> buffer(static_cast<std::size_t>(shape.source_width + 2 * shape.width));
  const PreprocessScratch scratch{buffer.data(), buffer.data() + shape.source_width,
                                  buffer.data() + shape.source_width + shape.width};
  const std::int64_t stride = 2 * shape.source_height * shape.source_width;
  for (std::int64_t i = 0; i < shape.count; ++i) {
    kKernel(frames + i * stride, shape, rows, columns, scratch, out + i * shape.height * shape.width);
  }
}

}  // namespace mbpo_fast
