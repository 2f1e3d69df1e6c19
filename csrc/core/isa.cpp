#include "core/isa.h"

#include <algorithm>
#include <atomic>

#include "core/check.h"

namespace mbpo_fast {

namespace {

std::atomic<Isa>& current() {
  static std::atomic<Isa> isa{supported_isas().back()};
  return isa;
}

}  // namespace

std::vector<Isa> supported_isas() {
  std::vector<Isa> isas{Isa::kBaseline};
#ifdef MBPO_FAST_X86_KERNELS
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) isas.push_back(Isa::kAvx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi")) {
    isas.push_back(Isa::kAvx512);
  }
#endif
  return isas;
}

Isa isa_in_use() {
  return current().load(std::memory_order_relaxed);
}

bool has_fast_bf16() {
#ifdef MBPO_FAST_X86_KERNELS
  return isa_in_use() == Isa::kAvx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_is("amd");
#else
  return false;
#endif
}

void use_isa(const std::string& name) {
  std::string names;
  for (const Isa isa : supported_isas()) {
    const char* supported = kIsaNames[static_cast<int>(isa)];
    if (name == supported) {
      current().store(isa, std::memory_order_relaxed);
      return;
    }
    names += (names.empty() ? "" : ", ") + std::string(supported);
  }
  fail("use_isa", text("an instruction set of this machine and build (", names, ")"), name);
}

}  // namespace mbpo_fast
