// The layers of a row: all threads of a block take part in each of them.
#pragma once

#include "rollout/gpu/row_convolution.h"
#include "rollout/gpu/row_frames.h"
#include "rollout/gpu/row_maps.h"
#include "rollout/gpu/row_vectors.h"

namespace mbpo_fast::gpu {

// Kept values and outputs lie as [h, w, c], without gaps.
MBPO_GPU void load_kept(const RowContext& row, const Op& op) {
  const Half* from = row.kept + op.place;
  fill(row, op.out, [&](int cell, int c) { return float_from(from[cell * op.out.channels + c]); });
}

MBPO_GPU void store_kept(const RowContext& row, const Op& op) {
  Half* to = row.kept + op.place;
  each_value(row, op.in, [&](int i, float value) { to[i] = half_from(value); });
  // What a linear layer reads past the end, up to a multiple of kDepth.
  const int total = cells(op.in) * op.in.channels, padded = (total + kDepth - 1) / kDepth * kDepth;
  for (int i = total + row.block.thread(); i < padded; i += row.block.threads()) to[i] = 0;
}

MBPO_GPU void emit(const RowContext& row, const Op& op) {
  float* to = row.outputs + op.place;
  each_value(row, op.in, [&](int i, float value) { to[i] = value; });
}

MBPO_GPU void run_op(const RowContext& row, const Op& op) {
  clear_border(row, op.out);
  switch (op.kind) {
    case OpKind::kFrames:
      return lay_frames(row, op);
    case OpKind::kMeans:
      return average_cells(row, op);
    case OpKind::kConstant:
      return lay_constant(row, op);
    case OpKind::kConvolution:
      return convolve(row, op);
    case OpKind::kLinear:
      return multiply_vector(row, op);
    case OpKind::kNorm:
      return normalise(row, op);
    case OpKind::kActivation:
      return activate(row, op);
    case OpKind::kConcat:
      return join(row, op);
    case OpKind::kClamp:
      return clamp(row, op);
    case OpKind::kMaxPool:
      return take_maxima(row, op);
    case OpKind::kPool:
      return pool(row, op);
    case OpKind::kDepthToSpace:
      return spread_cells(row, op);
    case OpKind::kExpectation:
      return expect(row, op);
    case OpKind::kLoad:
      return load_kept(row, op);
    case OpKind::kStore:
      return store_kept(row, op);
    case OpKind::kEmit:
      return emit(row, op);
    case OpKind::kChange:
      return apply_change(row, op);
  }
}

}  // namespace mbpo_fast::gpu
