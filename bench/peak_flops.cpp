// What one core can multiply at best, by CPU time, for the rooflines of docs/performance.md:
//   g++ -O3 -march=native bench/peak_flops.cpp -o build/peak_flops && build/peak_flops
#include <immintrin.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

namespace {

constexpr int kSums = 12;  // enough to hide the latency of two units
constexpr long kRounds = 4'000'000;

// Billions of operations a second: `step` updates kSums registers, each with `operations` of them.
template <class Register, class Step>
double rate(Register start, int operations, Step step) {
  double best = 1e9;
  for (int attempt = 0; attempt < 9; ++attempt) {
    Register sums[kSums];
    std::fill_n(sums, kSums, start);
    const std::clock_t begin = std::clock();
    for (long i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
      for (Register& sum : sums) {
        sum = step(sum);
        asm volatile("" : "+v"(sum));
      }
    }
    best = std::min(best, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
  }
  return static_cast<double>(kRounds) * kSums * operations / best / 1e9;
}

}  // namespace

int main() {
#ifdef __AVX512F__
  const __m512 a = _mm512_set1_ps(1e-9f);
  std::printf("float32 fma: %.0f GFLOP/s\n",
              rate(a, 32, [a](__m512 sum) { return _mm512_fmadd_ps(a, a, sum); }));
#ifdef __AVX512BF16__
  const __m512bh b = _mm512_cvtne2ps_pbh(a, a);
  std::printf("bfloat16 dot: %.0f GFLOP/s\n",
              rate(a, 64, [b](__m512 sum) { return _mm512_dpbf16_ps(sum, b, b); }));
#endif
#ifdef __AVX512VNNI__
  const __m512i c = _mm512_set1_epi8(1);
  std::printf("int8 dot: %.0f GOP/s\n",
              rate(c, 128, [c](__m512i sum) { return _mm512_dpbusd_epi32(sum, c, c); }));
#endif
#else
  std::puts("needs AVX-512");
#endif
}
