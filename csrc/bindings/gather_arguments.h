// The arguments that both rings' gather takes.
#pragma once

#include "bindings/arguments.h"
#include "replay/gather.h"

namespace mbpo_fast::bindings {

inline Padding padding_of(const char* op, const py::object& name) {
  const std::string value = py::isinstance<py::str>(name) ? std::string(py::str(name)) : "";
  MBPO_CHECK(value == "reset" || value == "zero", op, "padding 'reset' or 'zero'",
             std::string(py::repr(name)));
  return value == "reset" ? Padding::kReset : Padding::kZero;
}

struct GatherArrays {
  const Array<std::uint8_t>&obs, &next_obs;
  const Array<std::int64_t>& action;
  const Array<float>&reward, &discount;
  const Array<bool>& terminated;

  GatherOut checked(const char* op, py::ssize_t batch, std::int64_t context, std::int64_t height,
                    std::int64_t width) const {
    const std::vector<py::ssize_t> stack{batch, context, height, width};
    return {write(op, "obs", obs, stack),
            write(op, "next_obs", next_obs, stack),
            write(op, "action", action, {batch}),
            write(op, "reward", reward, {batch}),
            write(op, "discount", discount, {batch}),
            write_flags(op, "terminated", terminated, {batch})};
  }
};

}  // namespace mbpo_fast::bindings
