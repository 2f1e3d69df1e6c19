#include "bindings/arguments.h"
#include "rollout/context_maps.h"

namespace mbpo_fast::bindings {

namespace {

Contexts contexts_of(const char* op, const Array<std::uint8_t>& context, const Integer& cell) {
  const std::uint8_t* frames = read_rows(op, "context", context, {kAnySize, kAnySize, kAnySize, kAnySize});
  const auto source = py::reinterpret_borrow<py::array>(context.value);
  const std::int64_t side = int64(op, "cell", cell);
  MBPO_CHECK(side >= 1 && side <= kMaxMeanCell, op, text("1 <= cell <= ", kMaxMeanCell), side);
  return {frames, source.shape(0), source.shape(1), source.shape(2), source.shape(3), source.strides(0),
          side};
}

std::vector<py::ssize_t> maps_of(const Contexts& in, std::int64_t channels) {
  return {in.batch, in.height / in.cell, in.width / in.cell, channels};
}

template <class T>
void cells(const Array<std::uint8_t>& context, const Integer& newest, const Integer& cell,
           const Array<T>& out) {
  constexpr const char* op = "movement_cells";
  const Contexts in = contexts_of(op, context, cell);
  const std::int64_t frames = int64(op, "newest", newest);
  MBPO_CHECK(frames >= 1 && frames <= in.count, op, text("1 <= newest <= ", in.count), frames);
  T* to = write(op, "out", out, maps_of(in, frames * in.cell * in.cell));
  const py::gil_scoped_release release;
  movement_cells(in, frames, to);
}

void steps(const Array<std::uint8_t>& context, const Integer& cell, const Array<float>& out) {
  constexpr const char* op = "mean_steps";
  const Contexts in = contexts_of(op, context, cell);
  float* to = write(op, "out", out, maps_of(in, in.count - 1));
  const py::gil_scoped_release release;
  mean_steps(in, to);
}

}  // namespace

void bind_context_maps(py::module_& module) {
  using py::arg;
  module.def("movement_cells", &cells<float>, arg("context"), arg("newest"), arg("cell"), arg("out"));
  module.def("movement_cells_bfloat16", &cells<std::uint16_t>, arg("context"), arg("newest"), arg("cell"),
             arg("out"));
  module.def("mean_steps", &steps, arg("context"), arg("cell"), arg("out"));
}

}  // namespace mbpo_fast::bindings
