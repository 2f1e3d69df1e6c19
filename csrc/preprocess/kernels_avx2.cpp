#include "preprocess/shrink_integer.h"

namespace mbpo_fast {

const PreprocessKernels kPreprocessAvx2 = {shrink_integer<shrink_line_by_four, resolve_ties_plain>,
                                           look_up_plain};

}  // namespace mbpo_fast
