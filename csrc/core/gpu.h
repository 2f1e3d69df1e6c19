// Code for thread blocks of a GPU that is plain C++ as well, so that its logic is tested on any machine.
//
// nvcc compiles it for CUDA. Another compiler emulates a block: a host thread stands for a warp, its lanes
// are loops, and Block::sync is a barrier of the host threads, so that the thread sanitizer sees a missing
// one. Three styles of code follow from that:
//   - for (i = block.thread(); i < n; i += block.threads()): any thread may take any i;
//   - for (i = block.warp(); i < n; i += block.warps()): a warp takes an item, together;
//   - inside a warp, each_lane(f) calls f(lane, slot); what a lane keeps is a PerLane, indexed by the slot.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#define MBPO_GPU __device__ __forceinline__
#define MBPO_BOTH __host__ __device__
#define MBPO_UNROLL _Pragma("unroll")
#else
#include <atomic>
#include <barrier>
#define MBPO_GPU inline
#define MBPO_BOTH
#define MBPO_UNROLL
#endif

namespace mbpo_fast::gpu {

inline constexpr int kLanes = 32;

#ifdef __CUDACC__

struct Block {
  MBPO_GPU int index() const { return static_cast<int>(blockIdx.x); }
  MBPO_GPU int thread() const { return static_cast<int>(threadIdx.x); }
  MBPO_GPU int threads() const { return static_cast<int>(blockDim.x); }
  MBPO_GPU int warp() const { return thread() / kLanes; }
  MBPO_GPU int warps() const { return threads() / kLanes; }
  MBPO_GPU void sync() const { __syncthreads(); }
};

inline constexpr int kSlots = 1;

template <class F>
MBPO_GPU void each_lane(F f) {
  f(static_cast<int>(threadIdx.x) % kLanes, 0);
}

MBPO_GPU int atomic_add(int* to, int value) {
  return atomicAdd(to, value);
}

#else

// A warp of an emulated block. thread() counts warps: loops over threads are shared out to these.
class Block {
 public:
  Block(int index, int warp, int warps, std::barrier<>& barrier)
      : index_(index), warp_(warp), warps_(warps), barrier_(&barrier) {}
  int index() const { return index_; }
  int thread() const { return warp_; }
  int threads() const { return warps_; }
  int warp() const { return warp_; }
  int warps() const { return warps_; }
  void sync() const { barrier_->arrive_and_wait(); }

 private:
  int index_, warp_, warps_;
  std::barrier<>* barrier_;
};

inline constexpr int kSlots = kLanes;

template <class F>
void each_lane(F f) {
  for (int lane = 0; lane < kLanes; ++lane) f(lane, lane);
}

inline int atomic_add(int* to, int value) {
  return std::atomic_ref(*to).fetch_add(value, std::memory_order_relaxed);
}

#endif

// A value for each lane of a warp.
template <class T>
struct PerLane {
  T values[kSlots];
  MBPO_GPU T& operator[](int slot) { return values[slot]; }
  MBPO_GPU const T& operator[](int slot) const { return values[slot]; }
};

// combine(...(f(lane 0), f(lane 1))...), the same in every lane; in the order of a butterfly.
template <class F, class Combine>
MBPO_GPU float warp_reduce(F f, Combine combine) {
  PerLane<float> value;
  each_lane([&](int lane, int slot) { value[slot] = f(lane); });
#ifdef __CUDACC__
  MBPO_UNROLL
  for (int apart = kLanes / 2; apart > 0; apart /= 2) {
    value[0] = combine(value[0], __shfl_xor_sync(0xFFFFFFFFu, value[0], apart));
  }
#else
  for (int apart = kLanes / 2; apart > 0; apart /= 2) {
    for (int lane = 0; lane < apart; ++lane) value[lane] = combine(value[lane], value[lane + apart]);
  }
#endif
  return value[0];
}

template <class F>
MBPO_GPU float warp_sum(F f) {
  return warp_reduce(f, [](float a, float b) { return a + b; });
}

template <class F>
MBPO_GPU float warp_max(F f) {
  return warp_reduce(f, [](float a, float b) { return a > b ? a : b; });
}

// Sum of the values of the threads before this one; `total` that of all. sums: a number for each thread.
MBPO_GPU int exclusive_sum(const Block& block, int* sums, int value, int& total) {
  const int own = block.thread();
  sums[own] = value;
  block.sync();
  for (int apart = 1; apart < block.threads(); apart *= 2) {
    const int before = own >= apart ? sums[own - apart] : 0;
    block.sync();
    sums[own] += before;
    block.sync();
  }
  total = sums[block.threads() - 1];
  return sums[own] - value;
}

// bfloat16 as its bits.
using Half = std::uint16_t;

MBPO_BOTH inline float float_from(Half half) {
  const std::uint32_t bits = std::uint32_t{half} << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// To the nearest, ties to even; no NaN in, none out.
MBPO_BOTH inline Half half_from(float value) {
  std::uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return static_cast<Half>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

MBPO_GPU std::uint32_t half_pair(float low, float high) {
#ifdef __CUDACC__
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  std::uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
#else
  return half_from(low) | std::uint32_t{half_from(high)} << 16;
#endif
}

// max(x, 0) of both.
MBPO_GPU std::uint32_t rectified_pair(std::uint32_t pair) {
  return pair & ~(((pair >> 15) & 0x00010001u) * 0xFFFFu);
}

struct alignas(16) Words {
  std::uint32_t word[4];
};

template <class T>
MBPO_GPU T load_as(const void* from) {
  return *static_cast<const T*>(from);
}

// The operands of mma.sync.m16n8k16 as lanes hold them. With g = lane / 4 and t = lane % 4:
//   A [16, 16]: rows g and g + 8 by turns, columns 2t, 2t + 1, then 2t + 8, 2t + 9
//   B [16, 8]:  column g; rows 2t, 2t + 1, then 2t + 8, 2t + 9
//   C [16, 8]:  row g, columns 2t and 2t + 1, then row g + 8
struct ProductA {
  std::uint32_t pair[4];
};
struct ProductB {
  std::uint32_t pair[2];
};
struct ProductC {
  float value[4];
};

// sum += a * b: bfloat16 products, float32 sums.
MBPO_GPU void multiply_add(PerLane<ProductC>& sum, const PerLane<ProductA>& a, const PerLane<ProductB>& b) {
#ifdef __CUDACC__
  float* c = sum[0].value;
  const std::uint32_t *x = a[0].pair, *y = b[0].pair;
  // volatile: every lane of the warp has to come here together, so it must not move into a branch.
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
#else
  const auto low = [](std::uint32_t pair) { return float_from(static_cast<Half>(pair)); };
  const auto high = [](std::uint32_t pair) { return float_from(static_cast<Half>(pair >> 16)); };
  float left[16][16], right[16][8];
  each_lane([&](int lane, int slot) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      float* to = left[g + 8 * (i % 2)] + 2 * t + 8 * (i / 2);
      to[0] = low(a[slot].pair[i]), to[1] = high(a[slot].pair[i]);
    }
    for (int i = 0; i < 2; ++i) {
      right[2 * t + 8 * i][g] = low(b[slot].pair[i]), right[2 * t + 8 * i + 1][g] = high(b[slot].pair[i]);
    }
  });
  float out[16][8] = {};
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) out[row][column] += left[row][k] * right[k][column];
    }
  }
  each_lane([&](int lane, int slot) {
    for (int i = 0; i < 4; ++i) sum[slot].value[i] += out[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
  });
#endif
}

}  // namespace mbpo_fast::gpu
