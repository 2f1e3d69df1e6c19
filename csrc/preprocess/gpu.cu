#include "preprocess/gpu.h"

#include <algorithm>

#include "core/check.h"
#include "core/gpu_launch.h"

namespace mbpo_fast::gpu {

namespace {

constexpr const char* kOp = "preprocess_frames";

// An area table in device memory: for each destination its first source, then `taps` weights and units.
struct Axis {
  const unsigned char* bytes;
  std::int32_t taps, source, size;

  MBPO_GPU const std::int32_t* entry(int d) const {
    return reinterpret_cast<const std::int32_t*>(bytes) + d * (1 + 2 * taps);
  }
  MBPO_GPU int start(int d) const { return entry(d)[0]; }
  MBPO_GPU int unit(int d, int tap) const { return entry(d)[1 + taps + tap]; }
  MBPO_GPU float weight(int d, int tap) const {
    float value;
    memcpy(&value, entry(d) + 1 + tap, sizeof value);
    return value;
  }
};

// sum + a * b without the fused multiply-add, which OpenCV does not use here.
MBPO_GPU float add_product(float sum, float a, float b) {
#ifdef __CUDACC__
  return __fadd_rn(sum, __fmul_rn(a, b));
#else
  return sum + a * b;
#endif
}

// A block makes a line of a frame: first sums of rows, as in shrink_integer.h, then of columns.
struct ShrinkLine {
  static constexpr int kWarps = 3;
  Axis rows, columns;
  std::int32_t divisor;  // 0: in floats
  const std::uint8_t* frames;
  std::uint8_t* out;

  MBPO_GPU int brighter(const std::uint8_t* screens, int at) const {
    const int a = screens[at], b = screens[rows.source * columns.source + at];
    return a > b ? a : b;
  }

  // As float_pixel in shrink_float.cpp.
  MBPO_GPU std::uint8_t float_pixel(const std::uint8_t* screens, int y, int x) const {
    float sum = 0.0f;
    for (int r = 0; r < rows.taps; ++r) {
      const int corner = (rows.start(y) + r) * columns.source + columns.start(x);
      float line = 0.0f;
      for (int c = 0; c < columns.taps; ++c) {
        line = add_product(line, static_cast<float>(brighter(screens, corner + c)), columns.weight(x, c));
      }
      sum = add_product(sum, line, rows.weight(y, r));
    }
    const float level = rintf(sum);
    return static_cast<std::uint8_t>(level > 255.0f ? 255.0f : level);
  }

  MBPO_GPU void operator()(const Block& block, unsigned char* shared) const {
    const int frame = block.index() / rows.size, y = block.index() % rows.size;
    const std::uint8_t* screens = frames + std::int64_t{2} * frame * rows.source * columns.source;
    std::uint8_t* to = out + (std::int64_t{frame} * rows.size + y) * columns.size;
    int* sums = reinterpret_cast<int*>(shared);
    for (int x = block.thread(); divisor > 0 && x < columns.source; x += block.threads()) {
      int sum = 0;
      for (int r = 0; r < rows.taps; ++r) {
        sum += rows.unit(y, r) * brighter(screens, (rows.start(y) + r) * columns.source + x);
      }
      sums[x] = sum;
    }
    block.sync();
    for (int x = block.thread(); x < columns.size; x += block.threads()) {
      int sum = divisor / 2;
      for (int c = 0; divisor > 0 && c < columns.taps; ++c) {
        sum += columns.unit(x, c) * sums[columns.start(x) + c];
      }
      // An exact half is summed again in floats, to round as OpenCV does.
      const bool is_exact = divisor > 0 && sum % divisor != 0;
      to[x] = is_exact ? static_cast<std::uint8_t>(sum / divisor) : float_pixel(screens, y, x);
    }
  }
};

void append(std::vector<unsigned char>& bytes, const AreaTable& table) {
  std::vector<std::int32_t> words;
  for (std::int64_t d = 0; d < table.size; ++d) {
    words.push_back(static_cast<std::int32_t>(table.start[static_cast<std::size_t>(d)]));
    for (std::int64_t t = 0; t < table.taps; ++t) {
      std::int32_t bits;
      std::memcpy(&bits, &table.weight[static_cast<std::size_t>(t * table.size + d)], sizeof bits);
      words.push_back(bits);
    }
    for (std::int64_t t = 0; t < table.taps; ++t) {
      words.push_back(table.unit_sum ? table.units[static_cast<std::size_t>(t * table.size + d)] : 0);
    }
  }
  const auto* from = reinterpret_cast<const unsigned char*>(words.data());
  bytes.insert(bytes.end(), from, from + words.size() * sizeof(std::int32_t));
}

void check_axis(const char* axis, std::int64_t source, std::int64_t size) {
  MBPO_CHECK(source >= 1 && source <= 1 << 14 && size >= 1 && size <= source, kOp,
             text("1 <= ", axis, " <= the source's ", axis, " <= 2**14"), text(size, " from ", source));
}

Axis axis(const unsigned char* bytes, const AreaTable& table, std::int64_t source) {
  return {bytes, static_cast<std::int32_t>(table.taps), static_cast<std::int32_t>(source),
          static_cast<std::int32_t>(table.size)};
}

}  // namespace

GpuPreprocess::GpuPreprocess(std::int64_t source_height, std::int64_t source_width, std::int64_t height,
                             std::int64_t width) {
  check_axis("height", source_height, height);
  check_axis("width", source_width, width);
  plan_ = make_plan(source_height, source_width, height, width);
  append(bytes_, plan_.rows);
  columns_at_ = static_cast<std::int64_t>(bytes_.size());
  append(bytes_, plan_.columns);
}

void GpuPreprocess::run(const unsigned char* tables, const std::uint8_t* frames, std::int64_t count,
                        std::uint8_t* out, std::intptr_t stream) const {
  MBPO_CHECK(count >= 0 && count <= (std::int64_t{1} << 31) / plan_.height - 1, kOp, "less than 2**31 lines",
             text(count, " frames"));
  const ShrinkLine kernel{axis(tables, plan_.rows, plan_.source_height),
                          axis(tables + columns_at_, plan_.columns, plan_.source_width),
                          static_cast<std::int32_t>(plan_.divisor), frames, out};
  Launcher{stream}(kernel, count * plan_.height, plan_.source_width * std::int64_t{sizeof(int)});
}

}  // namespace mbpo_fast::gpu
