#include <numeric>

#include "bindings/gather_arguments.h"
#include "replay/branch_ring.h"

namespace mbpo_fast::bindings {

namespace {

using Bytes = Array<std::uint8_t>;
using Ids = Array<std::int64_t>;
using Flags = Array<bool>;

std::unique_ptr<BranchRing> make_ring(const Integer& capacity, const Integer& context, const Integer& horizon,
                                      const Integer& height, const Integer& width) {
  constexpr const char* op = "BranchRing";
  const BranchShape shape{int64(op, "capacity", capacity), int64(op, "context", context),
                          int64(op, "horizon", horizon), int64(op, "height", height),
                          int64(op, "width", width)};
  return std::make_unique<BranchRing>(shape);
}

py::array_t<std::int64_t> begin(BranchRing& ring, const Bytes& start) {
  constexpr const char* op = "BranchRing.begin";
  const BranchShape& shape = ring.shape();
  const std::uint8_t* frames = read(op, "start", start, {kAnySize, shape.context, shape.height, shape.width});
  const py::ssize_t count = py::reinterpret_borrow<py::array>(start.value).shape(0);
  std::vector<std::int64_t> ids(static_cast<std::size_t>(count));
  {
    const py::gil_scoped_release release;
    std::iota(ids.begin(), ids.end(), ring.begin(frames, count));
  }
  return to_array(ids);
}

void append(BranchRing& ring, const Ids& ids, const Bytes& frame, const Ids& action,
            const Array<float>& reward, const Flags& terminated, const Array<std::int16_t>& member) {
  constexpr const char* op = "BranchRing.append";
  const py::ssize_t count = length(op, "ids", ids);
  const std::int64_t* branches = read(op, "ids", ids, {count});
  const BranchSteps steps{read(op, "frame", frame, {count, ring.shape().height, ring.shape().width}),
                          read(op, "action", action, {count}), read(op, "reward", reward, {count}),
                          read_flags(op, "terminated", terminated, {count}),
                          read(op, "member", member, {count})};
  const py::gil_scoped_release release;
  ring.append(branches, count, steps);
}

py::array_t<std::int64_t> sample_ids(const BranchRing& ring, const Integer& batch, const Integer& seed,
                                     const Integer& stream, const Integer& step) {
  constexpr const char* op = "BranchRing.sample_ids";
  const std::int64_t rows = int64(op, "batch", batch);
  const DrawKey key = draw_key(op, seed, stream, step);
  std::vector<std::int64_t> ids;
  {
    const py::gil_scoped_release release;
    ids = ring.sample_ids(rows, key);
  }
  return to_array(ids);
}

void gather(const BranchRing& ring, const Ids& ids, const Integer& n_step, double gamma,
            const Integer& context, const Bytes& obs, const Bytes& next_obs, const Ids& action,
            const Array<float>& reward, const Array<float>& discount, const Flags& terminated) {
  constexpr const char* op = "BranchRing.gather";
  const GatherSpec spec{int64(op, "n_step", n_step), gamma, int64(op, "context", context), Padding::kReset};
  check_context(op, spec.context, ring.shape().context);
  const py::ssize_t batch = length(op, "ids", ids);
  const std::int64_t* rows = read(op, "ids", ids, {batch});
  const GatherArrays arrays{obs, next_obs, action, reward, discount, terminated};
  const GatherOut out = arrays.checked(op, batch, spec.context, ring.shape().height, ring.shape().width);
  const py::gil_scoped_release release;
  ring.gather(rows, batch, spec, out);
}

void latest(const BranchRing& ring, const Ids& ids, const Integer& context, const Bytes& out) {
  constexpr const char* op = "BranchRing.latest";
  const std::int64_t frames = int64(op, "context", context);
  check_context(op, frames, ring.shape().context);
  const py::ssize_t count = length(op, "ids", ids);
  const std::int64_t* branches = read(op, "ids", ids, {count});
  std::uint8_t* to = write(op, "out", out, {count, frames, ring.shape().height, ring.shape().width});
  const py::gil_scoped_release release;
  ring.latest(branches, count, frames, to);
}

Segment export_branches(const BranchRing& ring, const Integer& from_branch, const Integer& to_branch) {
  constexpr const char* op = "BranchRing.export_branches";
  const std::int64_t from = int64(op, "from_branch", from_branch), to = int64(op, "to_branch", to_branch);
  const std::int64_t oldest = ring.total() - ring.size();
  MBPO_CHECK(from >= oldest && from <= to && to <= ring.total(), op,
             text("stored branches within [", oldest, ", ", ring.total(), ")"),
             text("[", from, ", ", to, ")"));
  const BranchShape& shape = ring.shape();
  const std::vector<py::ssize_t> steps{to - from, shape.horizon};
  py::array_t<std::uint8_t> frame({steps[0], shape.context + shape.horizon, shape.height, shape.width});
  py::array_t<std::int64_t> action(steps);
  py::array_t<float> reward(steps);
  py::array_t<bool> terminated(steps);
  py::array_t<std::int16_t> member(steps);
  py::array_t<std::int32_t> lengths(to - from);
  const BranchOut out{frame.mutable_data(),  action.mutable_data(),
                      reward.mutable_data(), reinterpret_cast<std::uint8_t*>(terminated.mutable_data()),
                      member.mutable_data(), lengths.mutable_data()};
  {
    const py::gil_scoped_release release;
    ring.export_branches(from, to, out);
  }
  using namespace py::literals;
  return Segment(py::dict("frame"_a = frame, "action"_a = action, "reward"_a = reward,
                          "terminated"_a = terminated, "member"_a = member, "length"_a = lengths));
}

void import_branches(BranchRing& ring, const Segment& segment, const Integer& from_branch) {
  constexpr const char* op = "BranchRing.import_branches";
  const BranchShape& shape = ring.shape();
  const py::dict held(segment.attr("copy")());  // keeps the arrays alive while the GIL is away
  const std::int64_t from = int64(op, "from_branch", from_branch);
  const Array<std::int32_t> lengths = entry<std::int32_t>(op, held, "length");
  const py::ssize_t count = length(op, "length", lengths);
  const std::vector<py::ssize_t> frames{count, shape.context + shape.horizon, shape.height, shape.width};
  const std::vector<py::ssize_t> steps{count, shape.horizon};
  const BranchRows rows{read(op, "frame", entry<std::uint8_t>(op, held, "frame"), frames),
                        read(op, "action", entry<std::int64_t>(op, held, "action"), steps),
                        read(op, "reward", entry<float>(op, held, "reward"), steps),
                        read_flags(op, "terminated", entry<bool>(op, held, "terminated"), steps),
                        read(op, "member", entry<std::int16_t>(op, held, "member"), steps),
                        read(op, "length", lengths, {count})};
  const py::gil_scoped_release release;
  ring.import_branches(rows, count, from);
}

}  // namespace

void bind_branch_ring(py::module_& module) {
  using py::arg;
  py::class_<BranchRing>(module, "BranchRing")
      .def(py::init(&make_ring), arg("capacity"), arg("context"), arg("horizon"), arg("height"), arg("width"))
      .def("begin", &begin, arg("start"))
      .def("append", &append, arg("ids"), arg("frame"), arg("action"), arg("reward"), arg("terminated"),
           arg("member"))
      .def("sample_ids", &sample_ids, arg("batch"), arg("seed"), arg("stream"), arg("step"))
      .def("gather", &gather, arg("ids"), arg("n_step"), arg("gamma"), arg("context"), arg("obs"),
           arg("next_obs"), arg("action"), arg("reward"), arg("discount"), arg("terminated"))
      .def("latest", &latest, arg("ids"), arg("context"), arg("out"))
      .def("export_branches", &export_branches, arg("from_branch"), arg("to_branch"))
      .def("import_branches", &import_branches, arg("segment"), arg("from_branch"))
      .def("clear", &BranchRing::clear)
      .def_property_readonly("capacity", [](const BranchRing& ring) { return ring.shape().capacity; })
      .def_property_readonly("context", [](const BranchRing& ring) { return ring.shape().context; })
      .def_property_readonly("horizon", [](const BranchRing& ring) { return ring.shape().horizon; })
      .def_property_readonly("height", [](const BranchRing& ring) { return ring.shape().height; })
      .def_property_readonly("width", [](const BranchRing& ring) { return ring.shape().width; })
      .def_property_readonly("size", &BranchRing::size)
      .def_property_readonly("total", &BranchRing::total)
      .def_property_readonly("num_transitions", &BranchRing::num_transitions)
      .def_property_readonly("nbytes", &BranchRing::nbytes);
}

}  // namespace mbpo_fast::bindings
