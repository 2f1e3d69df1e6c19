#include "rollout/kernel_set.h"

namespace mbpo_fast {

const RolloutKernels kRolloutAvx2 = kKernelSet;

}  // namespace mbpo_fast
