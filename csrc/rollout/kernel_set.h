// The kernels of the instruction set that the including unit is compiled for.
#pragma once

#include "rollout/frames.h"
#include "rollout/maps.h"
#include "rollout/winograd.h"

namespace mbpo_fast {
namespace {

constexpr RolloutKernels kKernelSet = {
    kTileUnits * kChannelUnit,
    window_sum,
    winograd_sum,
    cells,
    means,
    affine,
    rectify,
    add,
    clamp,
    max_pool,
    channel_sums,
    channel_magnitudes,
    channel_squares,
    channel_maxima,
    channel_exponentials,
    change,
};

}  // namespace
}  // namespace mbpo_fast
