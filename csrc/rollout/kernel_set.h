// The kernels of the instruction set that the including unit is compiled for.
#pragma once

#include "rollout/frames.h"
#include "rollout/maps.h"
#include "rollout/winograd.h"

namespace mbpo_fast {
namespace {

constexpr RolloutKernels kKernelSet = {
    kTileUnits * kChannelUnit,
    window_sum<float>,
    winograd_sum<float>,
#ifdef __AVX512BF16__
    window_sum<Bf16>,
    winograd_sum<Bf16>,
    to_bf16,
#else
    nullptr,
    nullptr,
    nullptr,
#endif
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
