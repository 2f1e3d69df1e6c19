#include "preprocess/shrink_integer.h"

namespace mbpo_fast {

namespace {

#ifdef __SSE2__
constexpr auto kShrinkLine = shrink_line_by_four;  // every x86-64 has it
#else
constexpr auto kShrinkLine = shrink_line_plain;
#endif

}  // namespace

const PreprocessKernels kPreprocessBaseline = {shrink_integer<kShrinkLine, resolve_ties_plain>,
                                               look_up_plain};

const PreprocessKernels& preprocess_kernels([[maybe_unused]] Isa isa) {
#ifdef MBPO_FAST_X86_KERNELS
  if (isa == Isa::kAvx512) return kPreprocessAvx512;
  if (isa == Isa::kAvx2) return kPreprocessAvx2;
#endif
  return kPreprocessBaseline;
}

}  // namespace mbpo_fast
