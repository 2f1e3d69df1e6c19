// The same kernels on a processor, for tests (core/gpu.h says how).
#include "preprocess/gpu.cu"  // NOLINT
