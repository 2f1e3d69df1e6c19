#include "preprocess/preprocess.h"

#include <algorithm>
#include <vector>

#include "core/check.h"
#include "core/thread_pool.h"
#include "preprocess/kernels.h"

namespace mbpo_fast {

namespace {

constexpr const char* kOp = "preprocess_frames";
constexpr std::int64_t kFramesPerThread = 16;  // fewer are done before a thread has started
constexpr std::int64_t kMostThreads = 64;
constexpr std::int64_t kFramesForWide = 8;

void check_axis(const char* axis, std::int64_t source, std::int64_t size) {
  MBPO_CHECK(source >= 1 && size >= 1 && size <= source, kOp,
             text("1 <= ", axis, " <= the source's ", axis, " (an area resize only shrinks)"),
             text(size, " from ", source));
}

// Callers ask for one size again and again, often for a single frame: a thread keeps its last plan.
const PreprocessPlan& plan_for(const PreprocessShape& shape) {
  thread_local PreprocessPlan plan;
  if (!plan.is_for(shape.source_height, shape.source_width, shape.height, shape.width)) {
    plan = make_plan(shape.source_height, shape.source_width, shape.height, shape.width);
  }
  return plan;
}

template <class T>
T* grown(std::vector<T>& memory, std::int64_t size) {
  if (memory.size() < static_cast<std::size_t>(size)) memory.resize(static_cast<std::size_t>(size));
  return memory.data();
}

PreprocessScratch scratch_for(const PreprocessPlan& plan) {
  thread_local std::vector<std::uint16_t> lines;
  thread_local std::vector<std::int32_t> ties;
  return {grown(lines, kLines * (plan.source_width + kLinePadding)),
          grown(ties, kTiesAtOnce + 2 * plan.width + kTiePadding)};
}

// 512-bit products lower the core's clock for a millisecond: a frame between two steps of an emulator gains 3
// us by them, and the emulator loses 14.
Isa isa_for(std::int64_t count) {
  const Isa isa = isa_in_use();
  return isa == Isa::kAvx512 && count < kFramesForWide ? Isa::kAvx2 : isa;
}

void preprocess_some(const std::uint8_t* frames, const PreprocessPlan& plan, std::int64_t count,
                     std::int64_t of_each, std::uint8_t* out) {
  const PreprocessKernels& kernels = preprocess_kernels(isa_for(count));
  const PreprocessScratch scratch = scratch_for(plan);
  const std::int64_t screen = plan.source_height * plan.source_width;
  for (std::int64_t i = 0; i < count; ++i, frames += of_each * screen, out += plan.height * plan.width) {
    const Screens screens{frames, frames + (of_each - 1) * screen};
    if (plan.divisor > 0) {
      kernels.shrink(screens, plan, scratch, out);
    } else {
      shrink_float(screens, plan, out);
    }
  }
}

}  // namespace

void preprocess_frames(const std::uint8_t* frames, const PreprocessShape& shape, std::int64_t threads,
                       std::uint8_t* out) {
  check_axis("height", shape.source_height, shape.height);
  check_axis("width", shape.source_width, shape.width);
  MBPO_CHECK(threads >= 1, kOp, "num_threads >= 1", threads);
  MBPO_CHECK(shape.screens == 1 || shape.screens == 2, kOp, "1 or 2 screens a frame", shape.screens);
  const PreprocessPlan& plan = plan_for(shape);
  const std::int64_t useful = std::max<std::int64_t>(shape.count / kFramesPerThread, 1);
  const std::int64_t parts = std::min({threads, useful, kMostThreads});
  const auto part = [&](std::int64_t p, std::int64_t) {
    const std::int64_t from = shape.count * p / parts, to = shape.count * (p + 1) / parts;
    preprocess_some(frames + from * shape.screens * shape.source_height * shape.source_width, plan, to - from,
                    shape.screens, out + from * shape.height * shape.width);
  };
  ThreadPool(parts).run(parts, part);
}

std::uint8_t look_up_gray(const std::uint8_t* screen, const std::uint8_t* table, const std::uint8_t* over,
                          std::int64_t count, std::uint8_t* out) {
  return preprocess_kernels(isa_in_use()).look_up(screen, table, over, count, out);
}

}  // namespace mbpo_fast
