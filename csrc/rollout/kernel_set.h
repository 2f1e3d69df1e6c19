// The kernels of the instruction set that the including unit is compiled for.
#pragma once

#include "rollout/maps.h"
#include "rollout/winograd.h"

namespace mbpo_fast {
namespace {

constexpr RolloutKernels kKernelSet = {
    kTileUnits * kChannelUnit, window_sum,     winograd_sum,         cells,  affine, rectify, channel_sums,
    channel_squares,           channel_maxima, channel_exponentials, change,
};

}  // namespace
}  // namespace mbpo_fast
