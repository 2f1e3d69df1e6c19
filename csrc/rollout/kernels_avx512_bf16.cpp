#include "rollout/kernel_set.h"

namespace mbpo_fast {

const RolloutKernels kRolloutAvx512Bf16 = kKernelSet;

}  // namespace mbpo_fast
