// The kernels of a network: a block for each row, or for 64 rows of a large linear layer.
#pragma once

#include "rollout/gpu/row_layers.h"

namespace mbpo_fast::gpu {

struct RowTile {
  int first, rows, member;
};

// Neighbouring positions of one member, at most kRowTile. Null: all rows are of the member `sole`.
struct RowTiles {
  const std::int32_t *count, *first, *rows, *member;
  std::int32_t sole = 0;

  MBPO_GPU bool has(int tile, int lanes) const { return count ? tile < *count : tile * kRowTile < lanes; }
  MBPO_GPU RowTile at(int tile, int lanes) const {
    if (count) return {first[tile], rows[tile], member[tile]};
    const int from = tile * kRowTile;
    return {from, lanes - from < kRowTile ? lanes - from : kRowTile, sole};
  }
};

// All layers from one large linear layer to the next. A row's maps lie in shared memory, or where that is too
// small in the block's part of `arena`, device memory that the L2 cache holds at best.
template <bool kInShared>
struct RowLayers {
  static constexpr int kWarps = kRowWarps;
  const Op* ops;
  int count, blocks;
  Weights weights;
  Rows rows;
  FrameSource frames;
  Values values;
  unsigned char* arena;
  std::int64_t arena_bytes;

  MBPO_GPU void operator()(const Block& block, unsigned char* shared) const {
    unsigned char* maps = kInShared ? shared : arena + block.index() * arena_bytes;
    for (int position = block.index(); position < *rows.count; position += blocks) {
      const int lane = rows.lane(position);
      const RowContext row{block,
                           maps,
                           weights.of(rows.member_of(lane)),
                           frames,
                           rows.branch_of(lane),
                           rows.action_of(lane),
                           values.kept + position * values.kept_of_row,
                           values.outputs + lane * values.outputs_of_row};
      for (int i = 0; i < count; ++i) {
        run_op(row, ops[i]);
        block.sync();
      }
    }
  }
};

// Elements of the inputs that lie in shared memory at a time, and their step from row to row.
inline constexpr int kSlab = 512, kSlabStep = kSlab + 8;

struct LinearTiles {
  static constexpr int kWarps = kLinearWarps;
  BatchedLinear layer;
  Weights weights;
  Rows rows;
  RowTiles tiles;
  Values values;

  // Groups of channels are shared out to the warps of neighbouring blocks.
  MBPO_GPU void operator()(const Block& block, unsigned char* shared) const {
    const int groups = padded_channels(layer.channels) / kChannelGroup;
    const int blocks = (groups + block.warps() - 1) / block.warps();
    const int group = block.index() % blocks * block.warps() + block.warp();
    if (!tiles.has(block.index() / blocks, *rows.count)) return;
    const RowTile tile = tiles.at(block.index() / blocks, *rows.count);
    const int first = tile.first, count = tile.rows;
    const TileCount parts{(count + kPixelTile - 1) / kPixelTile, kChannelTiles};
    const unsigned char* own = weights.of(tile.member);
    const auto* matrix = reinterpret_cast<const Words*>(own + layer.weight) +
                         std::int64_t{group} * (layer.depth / kDepth) * (kWeightStep / sizeof(Words));
    Half* slab = reinterpret_cast<Half*>(shared);
    TilePixels places;
    locate(places, 0, count, [](int row) { return row * kSlabStep; });
    Products products;
    clear(products);
    for (int from = 0; from < layer.depth; from += kSlab) {
      const int depth = layer.depth - from < kSlab ? layer.depth - from : kSlab;
      load_slab(block, slab, first, count, from, depth);
      block.sync();
      if (group < groups) {
        const Words* part = matrix + std::int64_t{from} / kDepth * (kWeightStep / sizeof(Words));
        accumulate({slab, 1, 0, 0, depth / kDepth, 1, false}, places, part, parts, products);
      }
      block.sync();
    }
    if (group < groups) store(products, own, group, first, count, parts);
  }

 private:
  MBPO_GPU void load_slab(const Block& block, Half* slab, int first, int count, int from, int depth) const {
    const int words = depth / 8;
    for (int i = block.thread(); i < count * words; i += block.threads()) {
      const int row = i / words, word = i % words;
      const Half* kept = values.kept + (first + row) * values.kept_of_row + layer.in + from;
      reinterpret_cast<Words*>(slab + row * kSlabStep)[word] = reinterpret_cast<const Words*>(kept)[word];
    }
  }

  MBPO_GPU void store(const Products& products, const unsigned char* own, int group, int first, int count,
                      TileCount parts) const {
    each_pair(products, 0, count, parts, [&](int row, int column, float low, float high) {
      const int channel = group * kChannelGroup + column, lane = rows.lane(first + row);
      const Shift shift = shift_of(own, layer.bias, layer.film, layer.channels, rows.action_of(lane));
      const float pair[2] = {low, high};
      MBPO_UNROLL
      for (int i = 0; i < 2; ++i) {
        const int c = channel + i;
        // The next layer reads whole units of kDepth.
        const bool is_padding = c >= layer.channels;
        if (c >= (layer.channels + kDepth - 1) / kDepth * kDepth) continue;
        const float value = is_padding ? 0.0f : rectified(shift(pair[i], c), layer.relu);
        values.kept[(first + row) * values.kept_of_row + layer.out + c] = half_from(value);
        if (layer.emit >= 0 && !is_padding) {
          values.outputs[lane * values.outputs_of_row + layer.emit + c] = value;
        }
      }
    });
  }
};

}  // namespace mbpo_fast::gpu
