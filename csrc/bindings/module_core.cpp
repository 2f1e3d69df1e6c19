#include "bindings/arguments.h"

#ifdef __clang__
#define MBPO_FAST_COMPILER "clang " __clang_version__
#else
#define MBPO_FAST_COMPILER "gcc " __VERSION__
#endif

PYBIND11_MODULE(_core, module) {
  using namespace mbpo_fast::bindings;
  module.doc() = "Compiled core of mbpo_fast: use it through mbpo_fast.ops and mbpo_fast.data.";
  module.attr("__version__") = MBPO_FAST_VERSION;
  module.attr("__compiler__") = MBPO_FAST_COMPILER;
  bind_random(module);
  bind_preprocess(module);
  bind_sum_tree(module);
  bind_frame_ring(module);
  bind_branch_ring(module);
  bind_context_maps(module);
  bind_rollout(module);
}
