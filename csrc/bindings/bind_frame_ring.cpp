#include "bindings/gather_arguments.h"
#include "replay/frame_ring.h"

namespace mbpo_fast::bindings {

namespace {

using Bytes = Array<std::uint8_t>;
using Ids = Array<std::int64_t>;
using Flags = Array<bool>;

Split split_of(const char* op, const Integer& split) {
  const std::int64_t value = int64(op, "split", split);
  MBPO_CHECK(value >= -1 && value <= 1, op, "split -1 (any), 0 (train) or 1 (holdout)", value);
  return static_cast<Split>(value);
}

std::unique_ptr<FrameRing> make_ring(const Integer& num_envs, const Integer& capacity, const Integer& height,
                                     const Integer& width, const std::string& memory_map,
                                     const Integer& num_threads) {
  constexpr const char* op = "FrameRing";
  const std::int64_t lanes = int64(op, "num_envs", num_envs), slots = int64(op, "capacity", capacity);
  const std::int64_t lines = int64(op, "height", height), columns = int64(op, "width", width);
  const std::int64_t threads = int64(op, "num_threads", num_threads);
  // To reserve a file of many gigabytes may take a while.
  const py::gil_scoped_release release;
  return std::make_unique<FrameRing>(lanes, slots, lines, columns, memory_map, threads);
}

void add(FrameRing& ring, const Bytes& frame, const Ids& action, const Array<float>& reward,
         const Flags& terminated, const Flags& truncated, const Flags& first, const Bytes& split) {
  constexpr const char* op = "FrameRing.add";
  const std::vector<py::ssize_t> lanes{ring.num_envs()};
  const SlotRows rows{read(op, "frame", frame, {ring.num_envs(), ring.height(), ring.width()}),
                      read(op, "action", action, lanes),
                      read(op, "reward", reward, lanes),
                      read_flags(op, "terminated", terminated, lanes),
                      read_flags(op, "truncated", truncated, lanes),
                      read_flags(op, "first", first, lanes),
                      read(op, "split", split, lanes)};
  const py::gil_scoped_release release;
  ring.add(rows);
}

py::array_t<std::int64_t> sample_ids(const FrameRing& ring, const Integer& batch, const Integer& n_step,
                                     const Integer& context, const Integer& seed, const Integer& stream,
                                     const Integer& step, const Integer& split,
                                     const py::typing::Optional<SumTree>& priorities) {
  constexpr const char* op = "FrameRing.sample_ids";
  const std::int64_t rows = int64(op, "batch", batch), n = int64(op, "n_step", n_step);
  const std::int64_t frames = int64(op, "context", context);
  const DrawKey key = draw_key(op, seed, stream, step);
  const Split part = split_of(op, split);
  MBPO_CHECK(priorities.is_none() || py::isinstance<SumTree>(priorities), op,
             "priorities as a SumTree or None", describe(priorities));
  const SumTree* tree = priorities.is_none() ? nullptr : priorities.cast<const SumTree*>();
  std::vector<std::int64_t> ids;
  {
    const py::gil_scoped_release release;
    ids = ring.sample_ids(rows, n, frames, key, part, tree);
  }
  return to_array(ids);
}

py::array_t<std::int64_t> valid_ids(const FrameRing& ring, const Integer& n_step, const Integer& context,
                                    const Integer& split) {
  constexpr const char* op = "FrameRing.valid_ids";
  const std::int64_t n = int64(op, "n_step", n_step), frames = int64(op, "context", context);
  const Split part = split_of(op, split);
  std::vector<std::int64_t> ids;
  {
    const py::gil_scoped_release release;
    ids = ring.valid_ids(n, frames, part);
  }
  return to_array(ids);
}

void places(const FrameRing& ring, const Ids& ids, const Ids& out) {
  constexpr const char* op = "FrameRing.places";
  const py::ssize_t batch = length(op, "ids", ids);
  const std::int64_t* wanted = read(op, "ids", ids, {batch});
  std::int64_t* to = write(op, "out", out, {batch});
  const py::gil_scoped_release release;
  ring.places(wanted, batch, to);
}

void gather(const FrameRing& ring, const Ids& ids, const Integer& n_step, double gamma,
            const Integer& context, const py::object& padding, const Bytes& obs, const Bytes& next_obs,
            const Ids& action, const Array<float>& reward, const Array<float>& discount,
            const Flags& terminated) {
  constexpr const char* op = "FrameRing.gather";
  const GatherSpec spec{int64(op, "n_step", n_step), gamma, int64(op, "context", context),
                        padding_of(op, padding)};
  check_context(op, spec.context);
  const py::ssize_t batch = length(op, "ids", ids);
  const std::int64_t* rows = read(op, "ids", ids, {batch});
  const GatherArrays arrays{obs, next_obs, action, reward, discount, terminated};
  const GatherOut out = arrays.checked(op, batch, spec.context, ring.height(), ring.width());
  const py::gil_scoped_release release;
  ring.gather(rows, batch, spec, out);
}

void gather_windows(const FrameRing& ring, const Ids& ids, double gamma, const Integer& context,
                    const py::object& padding, const Bytes& window, const Ids& action,
                    const Array<float>& reward, const Array<float>& discount, const Flags& terminated) {
  constexpr const char* op = "FrameRing.gather_windows";
  const GatherSpec spec{1, gamma, int64(op, "context", context), padding_of(op, padding)};
  check_context(op, spec.context);
  const py::ssize_t batch = length(op, "ids", ids);
  const std::int64_t* rows = read(op, "ids", ids, {batch});
  const GatherOut out{write(op, "window", window, {batch, spec.context + 1, ring.height(), ring.width()}),
                      nullptr,
                      write(op, "action", action, {batch}),
                      write(op, "reward", reward, {batch}),
                      write(op, "discount", discount, {batch}),
                      write_flags(op, "terminated", terminated, {batch})};
  const py::gil_scoped_release release;
  ring.gather(rows, batch, spec, out);
}

void outcomes(const FrameRing& ring, const Ids& ids, const Array<float>& reward, const Flags& terminated) {
  constexpr const char* op = "FrameRing.outcomes";
  const py::ssize_t batch = length(op, "ids", ids);
  const std::int64_t* rows = read(op, "ids", ids, {batch});
  float* rewards = write(op, "reward", reward, {batch});
  std::uint8_t* ends = write_flags(op, "terminated", terminated, {batch});
  const py::gil_scoped_release release;
  ring.outcomes(rows, batch, rewards, ends);
}

void stacks(const FrameRing& ring, const Ids& ids, const Integer& context, const py::object& padding,
            const Bytes& out) {
  constexpr const char* op = "FrameRing.stacks";
  const std::int64_t frames = int64(op, "context", context);
  check_context(op, frames);
  const py::ssize_t batch = length(op, "ids", ids);
  const std::int64_t* rows = read(op, "ids", ids, {batch});
  std::uint8_t* to = write(op, "out", out, {batch, frames, ring.height(), ring.width()});
  const Padding kind = padding_of(op, padding);
  const py::gil_scoped_release release;
  ring.stacks(rows, batch, frames, kind, to);
}

Segment export_slots(const FrameRing& ring, const Integer& from_slot, const Integer& to_slot) {
  constexpr const char* op = "FrameRing.export_slots";
  const std::int64_t from = int64(op, "from_slot", from_slot), to = int64(op, "to_slot", to_slot);
  const std::int64_t oldest = ring.total() - ring.size();
  MBPO_CHECK(from >= oldest && from <= to && to <= ring.total(), op,
             text("stored slots within [", oldest, ", ", ring.total(), ")"), text("[", from, ", ", to, ")"));
  const std::vector<py::ssize_t> lanes{to - from, ring.num_envs()};
  py::array_t<std::uint8_t> frame({lanes[0], lanes[1], ring.height(), ring.width()}), split(lanes);
  py::array_t<std::int64_t> action(lanes);
  py::array_t<float> reward(lanes);
  py::array_t<bool> terminated(lanes), truncated(lanes), first(lanes);
  const auto bytes = [](py::array_t<bool>& flags) {
    return reinterpret_cast<std::uint8_t*>(flags.mutable_data());
  };
  const SlotOut out{frame.mutable_data(), action.mutable_data(), reward.mutable_data(), bytes(terminated),
                    bytes(truncated),     bytes(first),          split.mutable_data()};
  {
    const py::gil_scoped_release release;
    ring.export_slots(from, to, out);
  }
  using namespace py::literals;
  return Segment(py::dict("frame"_a = frame, "action"_a = action, "reward"_a = reward,
                          "terminated"_a = terminated, "truncated"_a = truncated, "first"_a = first,
                          "split"_a = split));
}

void import_slots(FrameRing& ring, const Segment& segment, const Integer& from_slot) {
  constexpr const char* op = "FrameRing.import_slots";
  const py::dict held(segment.attr("copy")());  // keeps the arrays alive while the GIL is away
  const std::int64_t from = int64(op, "from_slot", from_slot);
  const Bytes frame = entry<std::uint8_t>(op, held, "frame");
  const std::uint8_t* frames =
      read(op, "frame", frame, {kAnySize, ring.num_envs(), ring.height(), ring.width()});
  const py::ssize_t count = py::reinterpret_borrow<py::array>(frame.value).shape(0);
  const std::vector<py::ssize_t> lanes{count, ring.num_envs()};
  const SlotRows rows{frames,
                      read(op, "action", entry<std::int64_t>(op, held, "action"), lanes),
                      read(op, "reward", entry<float>(op, held, "reward"), lanes),
                      read_flags(op, "terminated", entry<bool>(op, held, "terminated"), lanes),
                      read_flags(op, "truncated", entry<bool>(op, held, "truncated"), lanes),
                      read_flags(op, "first", entry<bool>(op, held, "first"), lanes),
                      read(op, "split", entry<std::uint8_t>(op, held, "split"), lanes)};
  const py::gil_scoped_release release;
  ring.import_slots(rows, count, from);
}

}  // namespace

void bind_frame_ring(py::module_& module) {
  using py::arg;
  py::class_<FrameRing>(module, "FrameRing")
      .def(py::init(&make_ring), arg("num_envs"), arg("capacity"), arg("height"), arg("width"),
           arg("memory_map") = "", arg("num_threads") = 1)
      .def("add", &add, arg("frame"), arg("action"), arg("reward"), arg("terminated"), arg("truncated"),
           arg("first"), arg("split"))
      .def("sample_ids", &sample_ids, arg("batch"), arg("n_step"), arg("context"), arg("seed"), arg("stream"),
           arg("step"), arg("split"), arg("priorities") = py::none())
      .def("places", &places, arg("ids"), arg("out"))
      .def("valid_ids", &valid_ids, arg("n_step"), arg("context"), arg("split"))
      .def("gather", &gather, arg("ids"), arg("n_step"), arg("gamma"), arg("context"), arg("padding"),
           arg("obs"), arg("next_obs"), arg("action"), arg("reward"), arg("discount"), arg("terminated"))
      .def("gather_windows", &gather_windows, arg("ids"), arg("gamma"), arg("context"), arg("padding"),
           arg("window"), arg("action"), arg("reward"), arg("discount"), arg("terminated"))
      .def("outcomes", &outcomes, arg("ids"), arg("reward"), arg("terminated"))
      .def("stacks", &stacks, arg("ids"), arg("context"), arg("padding"), arg("out"))
      .def("export_slots", &export_slots, arg("from_slot"), arg("to_slot"))
      .def("import_slots", &import_slots, arg("segment"), arg("from_slot"))
      .def("clear", &FrameRing::clear)
      .def_property_readonly("num_envs", &FrameRing::num_envs)
      .def_property_readonly("capacity", &FrameRing::capacity)
      .def_property_readonly("size", &FrameRing::size)
      .def_property_readonly("total", &FrameRing::total)
      .def_property_readonly("num_transitions", &FrameRing::num_transitions)
      .def_property_readonly("nbytes", &FrameRing::nbytes);
}

}  // namespace mbpo_fast::bindings
