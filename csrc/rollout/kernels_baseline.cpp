#include "rollout/kernel_set.h"

namespace mbpo_fast {

const RolloutKernels kRolloutBaseline = kKernelSet;

const RolloutKernels& rollout_kernels([[maybe_unused]] Isa isa) {
#ifdef MBPO_FAST_X86_KERNELS
  if (isa == Isa::kAvx512) return kRolloutAvx512;
  if (isa == Isa::kAvx2) return kRolloutAvx2;
#endif
  return kRolloutBaseline;
}

}  // namespace mbpo_fast
