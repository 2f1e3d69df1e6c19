// Pixels to maps, and the predicted change back to pixels.
#pragma once

#include "rollout/kernels.h"
#include "rollout/vectors.h"

namespace mbpo_fast {
namespace {

inline void cells_line(const FrameCells& call, const std::uint8_t* newer, const std::uint8_t* older,
                       float scale, float* __restrict out) {
  const std::int64_t cell = call.cell;
  for (std::int64_t x = 0; x < call.width / cell; ++x) {
    for (std::int64_t i = 0; i < cell; ++i) {
      const int value = newer[x * cell + i], before = older ? older[x * cell + i] : 0;
      out[x * call.out_step + i] = scale * static_cast<float>(value - before);
    }
  }
}

using Bytes16 = std::uint8_t __attribute__((vector_size(16)));
using Shorts16 = std::int16_t __attribute__((vector_size(32)));
using Floats4 = float __attribute__((vector_size(16)));
using Floats16 = float __attribute__((vector_size(64)));

inline Shorts16 load_levels(const std::uint8_t* from) {
  Bytes16 bytes;
  __builtin_memcpy(&bytes, from, sizeof bytes);
  return __builtin_convertvector(bytes, Shorts16);
}

// Cells of four pixels, four cells at a time; the last four move left to end with the line.
inline void cells_line_by_four(const FrameCells& call, const std::uint8_t* newer, const std::uint8_t* older,
                               float scale, float* __restrict out) {
  for (std::int64_t next = 0; next < call.width; next += 16) {
    const std::int64_t x = at_most(next, call.width - 16);
    Shorts16 levels = load_levels(newer + x);
    if (older) levels -= load_levels(older + x);
    const Floats16 values = __builtin_convertvector(levels, Floats16) * scale;
    float* to = out + x / 4 * call.out_step;
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part) {
      const Floats4 four = {values[4 * part], values[4 * part + 1], values[4 * part + 2],
                            values[4 * part + 3]};
      __builtin_memcpy(to + part * call.out_step, &four, sizeof four);
    }
  }
}

inline void cells_of_frame(const FrameCells& call, const std::uint8_t* newer, const std::uint8_t* older,
                           float scale, std::int64_t channel) {
  for (std::int64_t line = 0; line < call.height; ++line) {
    const std::int64_t y = line / call.cell, from = line * call.width;
    float* out = call.out + y * call.out_line + channel + line % call.cell * call.cell;
    const std::uint8_t* before = older ? older + from : nullptr;
    const auto kernel = call.cell == 4 && call.width >= 16 ? cells_line_by_four : cells_line;
    kernel(call, newer + from, before, scale, out);
  }
}

void cells(const FrameCells& call) {
  const std::int64_t frame = call.frame, area = call.cell * call.cell;
  const std::uint8_t* newest = call.frames + (call.count - 1) * frame;
  if (!call.differences) {
    for (std::int64_t f = 0; f < call.count; ++f) {
      cells_of_frame(call, call.frames + f * frame, nullptr, call.scale, f * area);
    }
    return;
  }
  for (std::int64_t f = 1; f < call.count; ++f) {
    const std::uint8_t* newer = call.frames + f * frame;
    cells_of_frame(call, newer, newer - frame, call.difference_scale, (f - 1) * area);
  }
  cells_of_frame(call, newest, nullptr, call.scale, (call.count - 1) * area);
}

// Sums of the cells of four pixels in one line of cells. Four pixels are one word, added two at a time.
inline void sums_by_four(const std::uint8_t* lines, std::int64_t width, std::int32_t* __restrict sums) {
  for (std::int64_t x = 0; x < width / 4; ++x) {
    std::uint32_t pairs = 0;
#pragma GCC unroll 4
    for (std::int64_t line = 0; line < 4; ++line) {
      std::uint32_t word;
      __builtin_memcpy(&word, lines + line * width + 4 * x, sizeof word);
      pairs += (word & 0x00FF00FFu) + (word >> 8 & 0x00FF00FFu);
    }
    sums[x] = static_cast<std::int32_t>((pairs & 0xFFFFu) + (pairs >> 16));
  }
}

inline void sums_of_cells(const std::uint8_t* lines, std::int64_t width, std::int64_t cell,
                          std::int32_t* __restrict sums) {
  for (std::int64_t x = 0; x < width / cell; ++x) {
    sums[x] = 0;
    for (std::int64_t line = 0; line < cell; ++line) {
      for (std::int64_t i = 0; i < cell; ++i) sums[x] += lines[line * width + x * cell + i];
    }
  }
}

inline void sums_of_frame(const FrameMeans& call, const std::uint8_t* frame, std::int32_t* sums) {
  const std::int64_t columns = call.width / call.cell;
  for (std::int64_t y = 0; y < call.height / call.cell; ++y, sums += columns) {
    const std::uint8_t* lines = frame + y * call.cell * call.width;
    if (call.cell == 4) {
      sums_by_four(lines, call.width, sums);
    } else {
      sums_of_cells(lines, call.width, call.cell, sums);
    }
  }
}

// Four lines of four numbers, turned.
inline void turn_by_four(const float* in, std::int64_t in_line, float* out, std::int64_t out_line) {
  Floats4 a[4];
  for (int i = 0; i < 4; ++i) __builtin_memcpy(&a[i], in + i * in_line, sizeof a[i]);
  const Floats4 low01 = __builtin_shufflevector(a[0], a[1], 0, 4, 1, 5),
                high01 = __builtin_shufflevector(a[0], a[1], 2, 6, 3, 7),
                low23 = __builtin_shufflevector(a[2], a[3], 0, 4, 1, 5),
                high23 = __builtin_shufflevector(a[2], a[3], 2, 6, 3, 7);
  const Floats4 turned[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5),
                             __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                             __builtin_shufflevector(high01, high23, 0, 1, 4, 5),
                             __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
  for (int i = 0; i < 4; ++i) __builtin_memcpy(out + i * out_line, &turned[i], sizeof turned[i]);
}

// in [lines, columns] to out [columns, lines]; the last four of each move back to end with it.
inline void turn(const float* in, std::int64_t in_line, std::int64_t lines, std::int64_t columns, float* out,
                 std::int64_t out_line) {
  if (lines < 4 || columns < 4) {
    for (std::int64_t i = 0; i < lines; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) out[j * out_line + i] = in[i * in_line + j];
    }
    return;
  }
  for (std::int64_t next = 0; next < lines; next += 4) {
    const std::int64_t i = at_most(next, lines - 4);
    for (std::int64_t after = 0; after < columns; after += 4) {
      const std::int64_t j = at_most(after, columns - 4);
      turn_by_four(in + i * in_line + j, in_line, out + j * out_line + i, out_line);
    }
  }
}

void means(const FrameMeans& call) {
  const std::int64_t columns = call.width / call.cell, rows = call.height / call.cell;
  const std::int64_t cells = columns * rows, channels = call.steps ? call.count - 1 : call.count;
  const float scale = 1.0f / static_cast<float>(call.cell * call.cell);
  for (std::int64_t f = 0; f < call.count; ++f) {
    std::int32_t* const newer = f % 2 ? call.sums + cells : call.sums;
    const std::int32_t* const older = f % 2 ? call.sums : call.sums + cells;
    sums_of_frame(call, call.frames + f * call.height * call.width, newer);
    if (call.steps && f == 0) continue;
    float* __restrict const to = call.planes + (call.steps ? f - 1 : f) * cells;
    for (std::int64_t i = 0; i < cells; ++i) {
      to[i] = scale * static_cast<float>(call.steps ? newer[i] - older[i] : newer[i]);
    }
  }
  for (std::int64_t y = 0; y < rows; ++y) {
    turn(call.planes + y * columns, cells, channels, columns, call.out + y * call.out_line, call.out_step);
  }
}

// Rounds half to even, as torch does; what is not a number becomes 0.
inline std::uint8_t gray_level(float value) {
  const float positive = value > 0.0f ? value : 0.0f;
  const float clipped = positive < 255.0f ? positive : 255.0f;
  return static_cast<std::uint8_t>(static_cast<std::int32_t>((clipped + 12582912.0f) - 12582912.0f));
}

template <int kCell>
inline void change_line(const FrameChange& call, const float* mask, const float* delta,
                        const std::uint8_t* __restrict newest, std::uint8_t* __restrict out) {
  const std::int64_t cell = kCell ? kCell : call.cell;
  for (std::int64_t x = 0; x < call.width / cell; ++x) {
    const std::int64_t from = x * call.head_step;
    for (std::int64_t i = 0; i < cell; ++i) {
      const float step = !mask || mask[from + i] > 0.0f ? 255.0f * delta[from + i] : 0.0f;
      out[x * cell + i] = gray_level(static_cast<float>(newest[x * cell + i]) + step);
    }
  }
}

void change(const FrameChange& call) {
  for (std::int64_t line = 0; line < call.height; ++line) {
    const float* first = call.head + line / call.cell * call.head_line + line % call.cell * call.cell;
    const float* mask = call.masked ? first : nullptr;
    const float* delta = call.masked ? first + call.cell * call.cell : first;
    const std::int64_t at = line * call.width;
    if (call.cell == 4) {
      change_line<4>(call, mask, delta, call.newest + at, call.out + at);
    } else {
      change_line<0>(call, mask, delta, call.newest + at, call.out + at);
    }
  }
}

}  // namespace
}  // namespace mbpo_fast
