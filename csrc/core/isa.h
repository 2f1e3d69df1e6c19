// The instruction set that kernels run on: chosen once at run time, so that one binary serves every machine.
#pragma once

#include <string>
#include <vector>

namespace mbpo_fast {

enum class Isa : int { kBaseline, kAvx2, kAvx512 };

inline constexpr const char* kIsaNames[] = {"baseline", "avx2", "avx512"};

// What this build and this machine both have, weakest first.
std::vector<Isa> supported_isas();

// The strongest one that is supported, unless use_isa() chose another.
Isa isa_in_use();

// Whether the instruction set in use multiplies bfloat16 faster than float32. Intel's AVX-512 does not: it
// takes twice as long for twice the products.
bool has_fast_bf16();

// Throws std::invalid_argument for a name that is unknown or not supported here.
void use_isa(const std::string& name);

}  // namespace mbpo_fast
