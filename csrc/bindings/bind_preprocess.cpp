#include <pybind11/stl.h>

#include <optional>

#include "bindings/arguments.h"
#include "core/isa.h"
#include "preprocess/preprocess.h"
#include "preprocess/shift.h"

namespace mbpo_fast::bindings {

namespace {

void preprocess(const Array<std::uint8_t>& frames, const Array<std::uint8_t>& out,
                const Integer& num_threads) {
  constexpr const char* op = "preprocess_frames";
  const std::uint8_t* from = read(op, "frames", frames, {kAnySize, kAnySize, kAnySize, kAnySize});
  const auto source = py::reinterpret_borrow<py::array>(frames.value);
  std::uint8_t* to = write(op, "out", out, {source.shape(0), kAnySize, kAnySize});
  const auto target = py::reinterpret_borrow<py::array>(out.value);
  const PreprocessShape shape{source.shape(0), source.shape(1), source.shape(2),
                              source.shape(3), target.shape(1), target.shape(2)};
  check_apart(op, "out", out.value, "frames", frames.value);
  const std::int64_t threads = int64(op, "num_threads", num_threads);
  const py::gil_scoped_release release;
  preprocess_frames(from, shape, threads, to);
}

int look_up(const Array<std::uint8_t>& screen, const Array<std::uint8_t>& table,
            const Array<std::uint8_t>& out, const std::optional<Array<std::uint8_t>>& over) {
  constexpr const char* op = "look_up_gray";
  const std::uint8_t* from = read(op, "screen", screen, {kAnySize, kAnySize});
  const std::uint8_t* grays = read(op, "table", table, {256});
  const auto source = py::reinterpret_borrow<py::array>(screen.value);
  std::uint8_t* to = write(op, "out", out, {source.shape(0), source.shape(1)});
  const std::uint8_t* other = over ? read(op, "over", *over, {source.shape(0), source.shape(1)}) : nullptr;
  const py::gil_scoped_release release;
  return look_up_gray(from, grays, other, source.nbytes(), to);
}

void shift(const Array<std::uint8_t>& frames, const Array<std::int64_t>& down,
           const Array<std::int64_t>& right, const Array<std::uint8_t>& out) {
  constexpr const char* op = "shift_frames";
  const std::uint8_t* from = read(op, "frames", frames, {kAnySize, kAnySize, kAnySize, kAnySize});
  const auto source = py::reinterpret_borrow<py::array>(frames.value);
  const Stacks in{from, source.shape(0), source.shape(1), source.shape(2), source.shape(3)};
  const std::int64_t *below = read(op, "down", down, {source.shape(0)}),
                     *beside = read(op, "right", right, {source.shape(0)});
  std::uint8_t* to = write(op, "out", out, {in.batch, in.stack, in.height, in.width});
  MBPO_CHECK(in.height >= 1 && in.width >= 1, op, "frames of at least one pixel",
             text(in.height, "x", in.width));
  check_apart(op, "out", out.value, "frames", frames.value);
  const py::gil_scoped_release release;
  shift_frames(in, below, beside, to);
}

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const Isa isa : supported_isas()) names.emplace_back(kIsaNames[static_cast<int>(isa)]);
  return names;
}

}  // namespace

void bind_preprocess(py::module_& module) {
  module.def("preprocess_frames", &preprocess, py::arg("frames"), py::arg("out"), py::arg("num_threads"));
  module.def("look_up_gray", &look_up, py::arg("screen"), py::arg("table"), py::arg("out"), py::arg("over"));
  module.def("shift_frames", &shift, py::arg("frames"), py::arg("down"), py::arg("right"), py::arg("out"));
  module.def("isas", &isa_names);
  module.def("has_fast_bf16", &has_fast_bf16);
  module.def("isa", [] { return kIsaNames[static_cast<int>(isa_in_use())]; });
  module.def("use_isa", &use_isa, py::arg("name"));
}

}  // namespace mbpo_fast::bindings
