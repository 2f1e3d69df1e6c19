// Weights from their plain layout to the one that the kernels read.
#pragma once

#include "rollout/network.h"

namespace mbpo_fast {

// One layer of one member; `weights` are all of the member's. Unused channels get weights of zero.
PackedLayer pack_layer(const Network& network, std::size_t index, const float* weights);

}  // namespace mbpo_fast
