// Checked conversion of Python arguments: every mismatch is a ValueError that names the op and the argument.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/typing.h>

#include <string>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/philox.h"

namespace mbpo_fast::bindings {

namespace py = pybind11;

// An argument as it came; its type shows in signatures, its value is checked by read() or write() below.
template <class T>
struct Array {
  py::object value;
};
struct Integer {
  py::object value;
};

// Arrays by name: a part of a ring, copied.
using Segment = py::typing::Dict<py::str, py::array>;

constexpr py::ssize_t kAnySize = -1;

inline std::string shape_text(const std::vector<py::ssize_t>& shape) {
  std::ostringstream stream;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    stream << (i ? "," : "");
    shape[i] == kAnySize ? stream << "any" : stream << shape[i];
  }
  return text("[", stream.str(), "]");
}

inline std::string describe(const py::object& value) {
  if (!py::isinstance<py::array>(value)) return py::str(py::type::of(value).attr("__name__"));
  const auto array = py::reinterpret_borrow<py::array>(value);
  const std::vector<py::ssize_t> shape(array.shape(), array.shape() + array.ndim());
  return text(std::string(py::str(array.dtype())), " ", shape_text(shape),
              array.flags() & py::array::c_style ? "" : " not contiguous",
              array.writeable() ? "" : " read-only");
}

template <class T>
bool fits(const py::object& value, const std::vector<py::ssize_t>& shape, bool write) {
  if (!py::isinstance<py::array>(value)) return false;
  const auto array = py::reinterpret_borrow<py::array>(value);
  if (!array.dtype().equal(py::dtype::of<T>()) || !(array.flags() & py::array::c_style)) return false;
  if (!(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) || (write && !array.writeable()))
    return false;
  if (array.ndim() != static_cast<py::ssize_t>(shape.size())) return false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] != kAnySize && array.shape(static_cast<py::ssize_t>(i)) != shape[i]) return false;
  }
  return true;
}

template <class T>
T* pointer(const char* op, const char* name, const Array<T>& argument, const std::vector<py::ssize_t>& shape,
           bool write) {
  MBPO_CHECK(fits<T>(argument.value, shape, write), op,
             text(name, " as a contiguous", write ? " writeable " : " ",
                  std::string(py::str(py::dtype::of<T>())), " ", shape_text(shape)),
             describe(argument.value));
  return static_cast<T*>(const_cast<void*>(py::reinterpret_borrow<py::array>(argument.value).data()));
}

template <class T>
const T* read(const char* op, const char* name, const Array<T>& argument,
              const std::vector<py::ssize_t>& shape) {
  return pointer(op, name, argument, shape, false);
}

// As read(), but the rows of the first axis may lie apart, as those of a view into longer rows do.
template <class T>
const T* read_rows(const char* op, const char* name, const Array<T>& argument,
                   const std::vector<py::ssize_t>& shape) {
  if (!py::isinstance<py::array>(argument.value)) return read(op, name, argument, shape);
  const auto array = py::reinterpret_borrow<py::array>(argument.value);
  if (array.ndim() < 2 || array.shape(0) < 1) return read(op, name, argument, shape);
  const Array<T> row{argument.value[py::int_(0)]};
  const bool ascending =
      array.shape(0) == 1 || array.strides(0) >= py::reinterpret_borrow<py::array>(row.value).nbytes();
  MBPO_CHECK(
      ascending && fits<T>(row.value, {shape.begin() + 1, shape.end()}, false), op,
      text(name, " as contiguous rows of ", std::string(py::str(py::dtype::of<T>())), " ", shape_text(shape)),
      describe(argument.value));
  return static_cast<const T*>(array.data());
}

template <class T>
T* write(const char* op, const char* name, const Array<T>& argument, const std::vector<py::ssize_t>& shape) {
  return pointer(op, name, argument, shape, true);
}

// Of an op that reads while it writes.
inline void check_apart(const char* op, const char* out_name, const py::object& out, const char* in_name,
                        const py::object& in) {
  const auto bytes = [](const py::object& value) {
    const auto array = py::reinterpret_borrow<py::array>(value);
    const auto* begin = static_cast<const std::uint8_t*>(array.data());
    return std::pair{begin, begin + array.nbytes()};
  };
  const auto [to, to_end] = bytes(out);
  const auto [from, from_end] = bytes(in);
  MBPO_CHECK(to_end <= from || from_end <= to, op, text(out_name, " apart from ", in_name),
             "overlapping memory");
}

// NumPy's bool is one byte, read as such: a byte other than 0 and 1 then counts as true instead of being
// undefined.
inline const std::uint8_t* read_flags(const char* op, const char* name, const Array<bool>& argument,
                                      const std::vector<py::ssize_t>& shape) {
  return reinterpret_cast<const std::uint8_t*>(read(op, name, argument, shape));
}

inline std::uint8_t* write_flags(const char* op, const char* name, const Array<bool>& argument,
                                 const std::vector<py::ssize_t>& shape) {
  return reinterpret_cast<std::uint8_t*>(write(op, name, argument, shape));
}

template <class T>
py::ssize_t length(const char* op, const char* name, const Array<T>& argument) {
  pointer(op, name, argument, {kAnySize}, false);
  return py::reinterpret_borrow<py::array>(argument.value).shape(0);
}

inline py::object as_index(const char* op, const char* name, const Integer& argument) {
  PyObject* index = PyNumber_Index(argument.value.ptr());
  if (!index) PyErr_Clear();
  MBPO_CHECK(index, op, text(name, " as an integer"), std::string(py::repr(argument.value)));
  return py::reinterpret_steal<py::object>(index);
}

// Any Python or NumPy integer that fits in 64 bits; the op itself checks the range that it wants.
inline std::int64_t int64(const char* op, const char* name, const Integer& argument) {
  const py::object index = as_index(op, name, argument);
  int overflow = 0;
  const std::int64_t value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  MBPO_CHECK(!overflow, op, text(name, " in 64 bits"), std::string(py::repr(index)));
  return value;
}

inline std::uint64_t uint64(const char* op, const char* name, const Integer& argument) {
  const py::object index = as_index(op, name, argument);
  const std::uint64_t value = PyLong_AsUnsignedLongLong(index.ptr());
  const bool failed = PyErr_Occurred() != nullptr;
  PyErr_Clear();
  MBPO_CHECK(!failed, op, text("0 <= ", name, " < 2**64"), std::string(py::repr(index)));
  return value;
}

inline std::uint32_t uint32(const char* op, const char* name, const Integer& argument) {
  const std::uint64_t value = uint64(op, name, argument);
  MBPO_CHECK(value <= 0xFFFFFFFFu, op, text("0 <= ", name, " < 2**32"), value);
  return static_cast<std::uint32_t>(value);
}

inline DrawKey draw_key(const char* op, const Integer& seed, const Integer& stream, const Integer& step) {
  return {uint64(op, "seed", seed), uint32(op, "stream", stream), uint64(op, "step", step)};
}

template <class T>
Array<T> entry(const char* op, const py::dict& segment, const char* name) {
  MBPO_CHECK(segment.contains(name), op, text("a segment with '", name, "'"), "none");
  return {py::object(segment[name])};
}

template <class T>
py::array_t<T> to_array(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

void bind_random(py::module_& module);
void bind_preprocess(py::module_& module);
void bind_frame_ring(py::module_& module);
void bind_branch_ring(py::module_& module);
void bind_sum_tree(py::module_& module);
void bind_context_maps(py::module_& module);
void bind_rollout(py::module_& module);

}  // namespace mbpo_fast::bindings

namespace pybind11::detail {

template <class T>
struct type_caster<mbpo_fast::bindings::Array<T>> {
  PYBIND11_TYPE_CASTER(mbpo_fast::bindings::Array<T>, const_name("numpy.typing.NDArray[") +
                                                          npy_format_descriptor<T>::name + const_name("]"));
  bool load(handle source, bool) {
    value.value = reinterpret_borrow<object>(source);
    return true;
  }
};

template <>
struct type_caster<mbpo_fast::bindings::Integer> {
  PYBIND11_TYPE_CASTER(mbpo_fast::bindings::Integer, const_name("typing.SupportsIndex"));
  bool load(handle source, bool) {
    value.value = reinterpret_borrow<object>(source);
    return true;
  }
};

}  // namespace pybind11::detail
