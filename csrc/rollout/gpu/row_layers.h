// Layers on a row's maps in shared memory: all threads of a block take part in each of them.
#pragma once

#include "rollout/gpu/product.h"
#include "rollout/gpu/rows.h"

namespace mbpo_fast::gpu {

// A block at work on one row.
struct RowContext {
  const Block& block;
  unsigned char* shared;
  const unsigned char* weights;  // of the row's member
  const FrameSource& frames;
  std::int64_t branch;
  int action;
  Half* kept;
  float* outputs;

  MBPO_GPU float* statistics() const { return reinterpret_cast<float*>(shared); }
  MBPO_GPU const float* floats(std::int64_t offset) const {
    return reinterpret_cast<const float*>(weights + offset);
  }
};

MBPO_GPU int cells(const Map& map) {
  return map.height * map.width;
}

// Channels that a writer fills, what is beyond `channels` with zeros.
MBPO_GPU int stored_channels(const Map& map) {
  return map.is_float ? map.channels : (map.channels + kDepth - 1) / kDepth * kDepth;
}

MBPO_GPU int element(const Map& map, int y, int x) {
  return (y + map.border) * map.line + (x + map.border) * map.step;
}

MBPO_GPU int element_of_cell(const Map& map, int cell) {
  return element(map, cell / map.width, cell % map.width);
}

MBPO_GPU Half* halves(const RowContext& row, const Map& map) {
  return reinterpret_cast<Half*>(row.shared + map.offset);
}

MBPO_GPU float value_at(const RowContext& row, const Map& map, int index) {
  return map.is_float ? reinterpret_cast<const float*>(row.shared + map.offset)[index]
                      : float_from(halves(row, map)[index]);
}

MBPO_GPU void set_value(const RowContext& row, const Map& map, int index, float value) {
  if (map.is_float) {
    reinterpret_cast<float*>(row.shared + map.offset)[index] = value;
  } else {
    halves(row, map)[index] = half_from(value);
  }
}

MBPO_GPU float rectified(float value, bool relu) {
  return relu && value < 0.0f ? 0.0f : value;
}

// f(cell, channel) into every stored element of `map`.
template <class F>
MBPO_GPU void fill(const RowContext& row, const Map& map, F f) {
  const int channels = stored_channels(map), total = cells(map) * channels;
  for (int i = row.block.thread(); i < total; i += row.block.threads()) {
    const int cell = i / channels, channel = i % channels;
    set_value(row, map, element_of_cell(map, cell) + channel,
              channel < map.channels ? f(cell, channel) : 0.0f);
  }
}

MBPO_GPU void clear_border(const RowContext& row, const Map& map) {
  if (map.border == 0) return;
  const int columns = map.width + 2 * map.border, total = (map.height + 2 * map.border) * columns;
  for (int i = row.block.thread(); i < total; i += row.block.threads()) {
    const int y = i / columns - map.border, x = i % columns - map.border;
    if (y >= 0 && y < map.height && x >= 0 && x < map.width) continue;
    const int channels = stored_channels(map), at = element(map, y, x);
    for (int c = 0; c < channels; ++c) set_value(row, map, at + c, 0.0f);
  }
}

// A pixel of a frame, or its step to the next frame, as the layer scales it.
struct FrameValues {
  const std::uint8_t *own, *next;  // next: null where there is no step to take
  float scale;

  MBPO_GPU float operator()(int pixel) const {
    const float value = static_cast<float>(own[pixel]);
    return scale * (next ? static_cast<float>(next[pixel]) - value : value);
  }
};

MBPO_GPU FrameValues frame_values(const RowContext& row, const Op& op, int frame) {
  const bool moves = op.option == 1 && frame + 1 < op.count;
  return {row.frames.newest(row.branch, op.count, frame),
          moves ? row.frames.newest(row.branch, op.count, frame + 1) : nullptr, op.numbers[moves]};
}

// Whole numbers up to 255 are exact in bfloat16: where the weights took the scales in, pixels lose nothing.
// A thread takes `kRun` neighbouring pixels of a cell.
template <int kRun>
MBPO_GPU void lay_pixels(const RowContext& row, const Op& op) {
  const int side = op.kernel, area = side * side, width = op.out.width * side, runs = width / kRun;
  const int height = op.out.height * side, total = op.out.channels / area * height * runs;
  for (int i = row.block.thread(); i < total; i += row.block.threads()) {
    const int line = i / runs, x = i % runs * kRun, y = line % height, frame = line / height;
    const FrameValues values = frame_values(row, op, op.first + frame);
    const int at = element(op.out, y / side, x / side) + frame * area + y % side * side + x % side;
    MBPO_UNROLL
    for (int j = 0; j < kRun; ++j) set_value(row, op.out, at + j, values(y * width + x + j));
  }
}

MBPO_GPU void lay_frames(const RowContext& row, const Op& op) {
  op.kernel % 4 == 0 ? lay_pixels<4>(row, op) : lay_pixels<1>(row, op);
  const int padding = stored_channels(op.out) - op.out.channels;
  for (int i = row.block.thread(); i < cells(op.out) * padding; i += row.block.threads()) {
    set_value(row, op.out, element_of_cell(op.out, i / padding) + op.out.channels + i % padding, 0.0f);
  }
}

MBPO_GPU int sum_of_bytes(std::uint32_t word) {
  const std::uint32_t pairs = (word & 0x00FF00FFu) + ((word >> 8) & 0x00FF00FFu);
  return static_cast<int>((pairs + (pairs >> 16)) & 0xFFFFu);
}

MBPO_GPU int sum_of_cell(const std::uint8_t* corner, int width, int side) {
  int sum = 0;
  for (int y = 0; y < side; ++y, corner += width) {
    if (side % 4 == 0) {
      for (int x = 0; x < side; x += 4) sum += sum_of_bytes(load_as<std::uint32_t>(corner + x));
    } else {
      for (int x = 0; x < side; ++x) sum += corner[x];
    }
  }
  return sum;
}

// Means of cells, or with option 1 their steps from frame to frame.
MBPO_GPU void average_cells(const RowContext& row, const Op& op) {
  const int side = op.kernel, width = op.out.width * side, frames = op.out.channels + op.option;
  const float share = 1.0f / static_cast<float>(side * side);
  fill(row, op.out, [&](int cell, int c) {
    const int corner = cell / op.out.width * side * width + cell % op.out.width * side;
    int sum = sum_of_cell(row.frames.newest(row.branch, frames, c + op.option) + corner, width, side);
    if (op.option) sum -= sum_of_cell(row.frames.newest(row.branch, frames, c) + corner, width, side);
    return share * static_cast<float>(sum);
  });
}

MBPO_GPU void lay_constant(const RowContext& row, const Op& op) {
  const float* values = row.floats(op.weight);
  fill(row, op.out, [&](int cell, int c) { return values[cell * op.out.channels + c]; });
}

// What comes after a layer's own sum: a condition's scale and shift, a map or a constant to add, the
// activation.
MBPO_GPU float finished(const RowContext& row, const Op& op, int cell, int c, float value) {
  if (op.condition.channels) {
    const int first = element(op.condition, 0, 0), channels = op.condition.channels / 2;
    value = value * (1.0f + value_at(row, op.condition, first + c)) +
            value_at(row, op.condition, first + channels + c);
  }
  if (op.other.channels) value += value_at(row, op.other, element_of_cell(op.other, cell) + c);
  if (op.constant >= 0) value += row.floats(op.constant)[cell * op.out.channels + c];
  return rectified(value, op.relu);
}

MBPO_GPU void convolve(const RowContext& row, const Op& op) {
  const int pixels = cells(op.out), groups = padded_channels(op.out.channels) / kChannelGroup;
  const int tile_pixels = op.tiles * kPixelTile, parts = (pixels + tile_pixels - 1) / tile_pixels;
  const int chunks = op.count / kDepth;
  const Half* corner = halves(row, op.in) + element(op.in, -op.padding, -op.padding) + op.first;
  const Window window{corner, op.kernel, op.in.line, op.in.step, chunks, op.planes, op.relu_input != 0};
  const std::int64_t group_words =
      std::int64_t{op.kernel} * op.kernel * chunks * op.planes * (kWeightStep / std::int64_t{sizeof(Words)});
  const auto* weights = reinterpret_cast<const Words*>(row.weights + op.weight);
  const Shift shift = shift_of(row.weights, op.bias, op.film, op.out.channels, row.action);
  const int stored = (stored_channels(op.out) + 1) / 2 * 2;
  for (int item = row.block.warp(); item < parts * groups; item += row.block.warps()) {
    const int group = item / parts, first = item % parts * tile_pixels;
    const int left = (pixels - first + kPixelTile - 1) / kPixelTile;
    const int wide = (stored - group * kChannelGroup + kChannelTile - 1) / kChannelTile;
    const TileCount tiles{left < op.tiles ? left : op.tiles, wide < kChannelTiles ? wide : kChannelTiles};
    TilePixels places;
    locate(places, first, pixels, [&](int pixel) {
      return (pixel / op.out.width) * op.stride * op.in.line +
             (pixel % op.out.width) * op.stride * op.in.step;
    });
    Products products;
    clear(products);
    accumulate(window, places, weights + group * group_words, tiles, products);
    each_pair(products, first, pixels, tiles, [&](int pixel, int channel, float low, float high) {
      const int c = group * kChannelGroup + channel, at = element_of_cell(op.out, pixel) + c;
      if (c >= stored) return;
      float pair[2] = {shift(low, c), shift(high, c + 1)};
      MBPO_UNROLL
      for (int i = 0; i < 2; ++i) {
        pair[i] = c + i < op.out.channels ? finished(row, op, pixel, c + i, pair[i]) : 0.0f;
      }
      if (op.out.is_float) {
        set_value(row, op.out, at, pair[0]);
        if (c + 1 < op.out.channels) set_value(row, op.out, at + 1, pair[1]);
      } else {
        *reinterpret_cast<std::uint32_t*>(halves(row, op.out) + at) = half_pair(pair[0], pair[1]);
      }
    });
  }
}

// Means and variances of groups, a warp each, then every element.
MBPO_GPU void normalise(const RowContext& row, const Op& op) {
  const int wide = op.in.channels / op.option, total = cells(op.in) * wide;
  float* statistics = row.statistics();
  for (int group = row.block.warp(); group < op.option; group += row.block.warps()) {
    const auto each = [&](auto f) {
      return warp_sum([&](int lane) {
        float part = 0.0f;
        for (int i = lane; i < total; i += kLanes) {
          part += f(value_at(row, op.in, element_of_cell(op.in, i / wide) + group * wide + i % wide));
        }
        return part;
      });
    };
    const float count = static_cast<float>(total);
    const float mean = each([](float value) { return value; }) / count;
    const float variance = each([&](float value) { return (value - mean) * (value - mean); }) / count;
    each_lane([&](int lane, int) {
      if (lane != 0) return;
      statistics[2 * group] = mean;
      statistics[2 * group + 1] = 1.0f / std::sqrt(variance + 1e-5f);
    });
  }
  row.block.sync();
  const float *gain = row.floats(op.weight), *bias = row.floats(op.bias);
  // The film's own bias is that of the norm.
  const Shift film = shift_of(row.weights, op.bias, op.film, op.in.channels, row.action);
  fill(row, op.out, [&](int cell, int c) {
    const float* own = statistics + 2 * (c / wide);
    float value =
        (value_at(row, op.in, element_of_cell(op.in, cell) + c) - own[0]) * own[1] * gain[c] + bias[c];
    if (film.scale) value = value * film.scale[c] + film.shift[c];
    return finished(row, op, cell, c, value);
  });
}

MBPO_GPU float value_of_cell(const RowContext& row, const Map& map, int cell, int c) {
  return value_at(row, map, element_of_cell(map, cell) + c);
}

MBPO_GPU void activate(const RowContext& row, const Op& op) {
  fill(row, op.out,
       [&](int cell, int c) { return finished(row, op, cell, c, value_of_cell(row, op.in, cell, c)); });
}

MBPO_GPU void join(const RowContext& row, const Op& op) {
  const int own = op.in.channels;
  fill(row, op.out, [&](int cell, int c) {
    return c < own ? value_of_cell(row, op.in, cell, c) : value_of_cell(row, op.other, cell, c - own);
  });
}

MBPO_GPU void clamp(const RowContext& row, const Op& op) {
  fill(row, op.out, [&](int cell, int c) {
    const float value = value_of_cell(row, op.in, cell, c);
    return value < op.numbers[0] ? op.numbers[0] : value > op.numbers[1] ? op.numbers[1] : value;
  });
}

MBPO_GPU void take_maxima(const RowContext& row, const Op& op) {
  fill(row, op.out, [&](int cell, int c) {
    const int top = cell / op.out.width * op.stride - op.padding;
    const int left = cell % op.out.width * op.stride - op.padding;
    float most = -INFINITY;
    for (int y = top < 0 ? 0 : top; y < top + op.kernel && y < op.in.height; ++y) {
      for (int x = left < 0 ? 0 : left; x < left + op.kernel && x < op.in.width; ++x) {
        const float value = value_at(row, op.in, element(op.in, y, x) + c);
        most = value > most ? value : most;
      }
    }
    return most;
  });
}

// A channel's pool, by a warp. option 0: mean, 1: maximum, 2: log of the mean of exp, 3: mean magnitude.
MBPO_GPU float pool_channel(const RowContext& row, const Op& op, int c) {
  const int total = cells(op.in);
  const float share = 1.0f / static_cast<float>(total);
  const auto over = [&](int lane, float start, auto f) {
    for (int cell = lane; cell < total; cell += kLanes) start = f(start, value_of_cell(row, op.in, cell, c));
    return start;
  };
  const auto sum = [&](auto f) { return warp_sum([&](int lane) { return over(lane, 0.0f, f); }); };
  if (op.option == 0) return share * sum([](float a, float b) { return a + b; });
  if (op.option == 3) return share * sum([](float a, float b) { return a + std::fabs(b); });
  const auto larger = [](float a, float b) { return a > b ? a : b; };
  const float first = value_of_cell(row, op.in, 0, c);
  const float most = warp_max([&](int lane) { return over(lane, first, larger); });
  if (op.option == 1) return most;
  return most + std::log(share * sum([&](float a, float b) { return a + std::exp(b - most); }));
}

// The mean of a softmax over the atoms of action c, by a warp.
MBPO_GPU float expected_value(const RowContext& row, const Op& op, int c) {
  const float* atoms = row.floats(op.weight);
  const auto logit = [&](int i) { return value_of_cell(row, op.in, 0, c * op.option + i); };
  const auto sum = [&](auto f) {
    return warp_sum([&](int lane) {
      float part = 0.0f;
      for (int i = lane; i < op.option; i += kLanes) part += f(i);
      return part;
    });
  };
  const float most = warp_max([&](int lane) {
    float own = logit(0);
    for (int i = lane; i < op.option; i += kLanes) own = logit(i) > own ? logit(i) : own;
    return own;
  });
  const auto mass = [&](int i) { return std::exp(logit(i) - most); };
  return sum([&](int i) { return mass(i) * atoms[i]; }) / sum(mass);
}

// f(channel), worked out by a warp, into every channel of a vector.
template <class F>
MBPO_GPU void fill_vector(const RowContext& row, const Map& map, F f) {
  for (int c = row.block.warp(); c < stored_channels(map); c += row.block.warps()) {
    const float value = c < map.channels ? f(c) : 0.0f;
    each_lane([&](int lane, int) {
      if (lane == 0) set_value(row, map, element(map, 0, 0) + c, value);
    });
  }
}

MBPO_GPU void pool(const RowContext& row, const Op& op) {
  fill_vector(row, op.out, [&](int c) { return pool_channel(row, op, c); });
}

MBPO_GPU void expect(const RowContext& row, const Op& op) {
  fill_vector(row, op.out, [&](int c) { return expected_value(row, op, c); });
}

// A small linear layer; weight float32 [channels, h * w * c].
MBPO_GPU void multiply_vector(const RowContext& row, const Op& op) {
  const int depth = cells(op.in) * op.in.channels;
  const Shift shift = shift_of(row.weights, op.bias, op.film, op.out.channels, row.action);
  fill_vector(row, op.out, [&](int out) {
    const float* weights = row.floats(op.weight) + std::int64_t{out} * depth;
    const float sum = warp_sum([&](int lane) {
      float part = 0.0f;
      for (int i = lane; i < depth; i += kLanes) {
        part += weights[i] * value_of_cell(row, op.in, i / op.in.channels, i % op.in.channels);
      }
      return part;
    });
    return rectified(shift(sum, out), op.relu);
  });
}

MBPO_GPU void spread_cells(const RowContext& row, const Op& op) {
  const int side = op.kernel;
  fill(row, op.out, [&](int cell, int c) {
    const int y = cell / op.out.width, x = cell % op.out.width;
    const int channel = c * side * side + y % side * side + x % side;
    return value_at(row, op.in, element(op.in, y / side, x / side) + channel);
  });
}

// Kept values and outputs lie as [h, w, c], without gaps.
MBPO_GPU void load_kept(const RowContext& row, const Op& op) {
  const Half* from = row.kept + op.place;
  fill(row, op.out, [&](int cell, int c) { return float_from(from[cell * op.out.channels + c]); });
}

template <class Put>
MBPO_GPU void each_value(const RowContext& row, const Map& map, Put put) {
  const int total = cells(map) * map.channels;
  for (int i = row.block.thread(); i < total; i += row.block.threads()) {
    put(i, value_at(row, map, element_of_cell(map, i / map.channels) + i % map.channels));
  }
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

// The change of each pixel in units of 255 gray levels; where the cells have two numbers a pixel, the first
// says by its sign whether the pixel changes at all.
MBPO_GPU void apply_change(const RowContext& row, const Op& op) {
  const FrameSource& frames = row.frames;
  const int cell = op.kernel, area = cell * cell, width = op.in.width * cell;
  const bool masked = op.in.channels == 2 * area;
  const std::uint8_t* newest = frames.newest(row.branch, 1, 0);
  std::uint8_t* to = frames.destination(row.branch);
  for (int i = row.block.thread(); i < op.in.height * cell * width; i += row.block.threads()) {
    const int y = i / width, x = i % width;
    const int at = element(op.in, y / cell, x / cell) + y % cell * cell + x % cell;
    const bool changes = !masked || value_at(row, op.in, at) > 0.0f;
    float level = static_cast<float>(newest[i]);
    if (changes) level = rintf(level + 255.0f * value_at(row, op.in, masked ? at + area : at));
    to[i] = static_cast<std::uint8_t>(level < 0.0f ? 0.0f : level > 255.0f ? 255.0f : level);
  }
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
