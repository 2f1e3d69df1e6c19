#include <memory>

#include "bindings/arguments.h"
#include "replay/sum_tree.h"

namespace mbpo_fast::bindings {

namespace {

void set(SumTree& tree, const Array<std::int64_t>& index, const Array<float>& value) {
  constexpr const char* op = "SumTree.set";
  const py::ssize_t count = length(op, "index", index);
  const std::int64_t* places = read(op, "index", index, {count});
  const float* values = read(op, "value", value, {count});
  const py::gil_scoped_release release;
  tree.set(places, values, count);
}

py::array_t<float> get(const SumTree& tree, const Array<std::int64_t>& index) {
  constexpr const char* op = "SumTree.get";
  const py::ssize_t count = length(op, "index", index);
  const std::int64_t* places = read(op, "index", index, {count});
  std::vector<float> values(static_cast<std::size_t>(count));
  tree.get(places, count, values.data());
  return to_array(values);
}

std::int64_t find(const SumTree& tree, double share) {
  MBPO_CHECK(share >= 0.0 && share < 1.0, "SumTree.find", "0 <= share < 1", share);
  std::int64_t leaf = 0;
  tree.find(&share, 1, &leaf);
  return leaf;
}

}  // namespace

void bind_sum_tree(py::module_& module) {
  using py::arg;
  const auto make = [](const Integer& size) {
    return std::make_unique<SumTree>(int64("SumTree", "size", size));
  };
  py::class_<SumTree>(module, "SumTree")
      .def(py::init(make), arg("size"))
      .def("set", &set, arg("index"), arg("value"))
      .def("get", &get, arg("index"))
      .def("find", &find, arg("share"))
      .def_property_readonly("total", &SumTree::total)
      .def_property_readonly("size", &SumTree::size);
}

}  // namespace mbpo_fast::bindings
