#include "rollout/kernel_set.h"

namespace mbpo_fast {

const RolloutKernels kRolloutBaseline = kKernelSet;

const RolloutKernels& rollout_kernels([[maybe_unused]] Isa isa) {
#ifdef MBPO_FAST_X86_KERNELS
  if (isa == Isa::kAvx512) return has_fast_bf16() ? kRolloutAvx512Bf16 : kRolloutAvx512;
  if (isa == Isa::kAvx2) return kRolloutAvx2;
#endif
  return kRolloutBaseline;
}

}  // namespace mbpo_fast
