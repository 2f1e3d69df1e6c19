// Runs a kernel, an object with kWarps and operator()(block, shared memory): on a GPU where nvcc compiles
// this, else in emulation.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "core/gpu.h"

#ifndef __CUDACC__
#include <algorithm>
#include <thread>
#include <vector>
#endif

namespace mbpo_fast::gpu {

#ifdef __CUDACC__

inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string("[cuda] ") + what + ": " + cudaGetErrorString(status));
}

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kWarps* kLanes) enter(const __grid_constant__ Kernel kernel) {
  extern __shared__ __align__(16) unsigned char shared[];
  kernel(Block{}, shared);
}

// All that the device has, whatever a launch needs: two threads cannot lower each other's limit.
inline void allow_shared_memory(const void* kernel) {
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device), "device");
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "shared memory");
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), "shared memory");
}

// The caller's stream. Launches alone: nothing is allocated and nobody waits, so a graph may capture it.
class Launcher {
 public:
  explicit Launcher(std::intptr_t stream) : stream_(reinterpret_cast<cudaStream_t>(stream)) {}

  template <class Kernel>
  int warps() const {
    return Kernel::kWarps;
  }
  // What Block::threads() says there.
  template <class Kernel>
  int threads() const {
    return Kernel::kWarps * kLanes;
  }

  template <class Kernel>
  void operator()(const Kernel& kernel, std::int64_t blocks, std::int64_t shared_bytes) const {
    if (blocks == 0) return;
    const int bytes = static_cast<int>(shared_bytes);
    allow_shared_memory(reinterpret_cast<const void*>(&enter<Kernel>));
    enter<Kernel><<<static_cast<unsigned>(blocks), Kernel::kWarps * kLanes, bytes, stream_>>>(kernel);
    check(cudaGetLastError(), "launch");
  }

 private:
  cudaStream_t stream_;
};

#else

// `warps` host threads stand for the warps of every block, one block after the other.
class Launcher {
 public:
  explicit Launcher(std::intptr_t warps)
      : warps_(static_cast<int>(std::clamp<std::intptr_t>(warps, 1, 32))) {}

  template <class Kernel>
  int warps() const {
    return warps_;
  }
  template <class Kernel>
  int threads() const {
    return warps_;
  }

  template <class Kernel>
  void operator()(const Kernel& kernel, std::int64_t blocks, std::int64_t shared_bytes) const {
    // All bits set are no number: what a kernel reads before it is written shows in the results.
    std::vector<Words> shared(static_cast<std::size_t>(shared_bytes) / sizeof(Words) + 1);
    std::barrier barrier(warps_);
    const auto run = [&](int warp) {
      for (std::int64_t index = 0; index < blocks; ++index) {
        if (warp == 0) std::memset(shared.data(), 0xFF, shared.size() * sizeof(Words));
        barrier.arrive_and_wait();
        kernel(Block(static_cast<int>(index), warp, warps_, barrier),
               reinterpret_cast<unsigned char*>(shared.data()));
        barrier.arrive_and_wait();
      }
    };
    std::vector<std::thread> threads;
    for (int warp = 1; warp < warps_; ++warp) threads.emplace_back(run, warp);
    run(0);
    for (std::thread& thread : threads) thread.join();
  }

 private:
  int warps_;
};

#endif

}  // namespace mbpo_fast::gpu
