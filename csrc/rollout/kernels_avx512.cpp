#include "rollout/kernel_set.h"

namespace mbpo_fast {

const RolloutKernels kRolloutAvx512 = kKernelSet;

}  // namespace mbpo_fast
