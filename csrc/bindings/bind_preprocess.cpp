#include "bindings/arguments.h"
#include "preprocess/preprocess.h"

namespace mbpo_fast::bindings {

namespace {

void preprocess(const Array<std::uint8_t>& frames, const Array<std::uint8_t>& out) {
  constexpr const char* op = "preprocess_frames";
  const std::uint8_t* from = read(op, "frames", frames, {kAnySize, 2, kAnySize, kAnySize});
  const auto source = py::reinterpret_borrow<py::array>(frames.value);
  std::uint8_t* to = write(op, "out", out, {source.shape(0), kAnySize, kAnySize});
  const auto target = py::reinterpret_borrow<py::array>(out.value);
  const PreprocessShape shape{source.shape(0), source.shape(2), source.shape(3), target.shape(1),
                              target.shape(2)};
  const std::uint8_t* from_end = from + source.nbytes();
  MBPO_CHECK(to + target.nbytes() <= from || from_end <= to, op, "out apart from frames",
             "overlapping memory");
  const py::gil_scoped_release release;
  preprocess_frames(from, shape, to);
}

}  // namespace

void bind_preprocess(py::module_& module) {
  module.def("preprocess_frames", &preprocess, py::arg("frames"), py::arg("out"));
}

}  // namespace mbpo_fast::bindings
