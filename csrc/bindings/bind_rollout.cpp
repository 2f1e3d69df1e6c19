#include "bindings/rollout_arguments.h"
#include "rollout/rollout.h"

namespace mbpo_fast::bindings {

namespace {

using Bytes = Array<std::uint8_t>;
using Ids = Array<std::int64_t>;
using Floats = Array<float>;

py::ssize_t size_of(const py::object& array, py::ssize_t axis) {
  return py::reinterpret_borrow<py::array>(array).shape(axis);
}

std::unique_ptr<ThreadPool> make_pool(const Integer& threads) {
  return std::make_unique<ThreadPool>(int64("ThreadPool", "threads", threads));
}

std::unique_ptr<Network> make_network(const Ids& layers, const Floats& weights, const Integer& context,
                                      const Integer& height, const Integer& width, const Integer& actions,
                                      const Ids& outputs) {
  constexpr const char* op = "rollout";
  const std::int64_t* table = read(op, "layers", layers, {kAnySize, kLayerFields});
  const float* numbers = read(op, "weights", weights, {kAnySize, kAnySize});
  const py::ssize_t count = length(op, "outputs", outputs);
  const std::int64_t* registers = read(op, "outputs", outputs, {count});
  const NetworkInput input{int64(op, "context", context), int64(op, "height", height),
                           int64(op, "width", width), int64(op, "actions", actions)};
  const auto rows = static_cast<std::size_t>(size_of(layers.value, 0) * kLayerFields);
  const py::ssize_t members = size_of(weights.value, 0);
  const auto total = static_cast<std::size_t>(members * size_of(weights.value, 1));
  const py::gil_scoped_release release;
  return std::make_unique<Network>(op, std::span(table, rows), std::span(numbers, total), members, input,
                                   std::span(registers, static_cast<std::size_t>(count)));
}

// A batch as the network reads it. Actions and members choose memory to read, so they are copied before they
// are checked: another thread may write to the caller's arrays.
struct Rows {
  std::vector<const std::uint8_t*> context;
  std::vector<std::int64_t> action, member;
  StepRows rows() const {
    return {context.data(), action.data(), member.data(), static_cast<std::int64_t>(context.size())};
  }
};

Rows rows_of(const char* op, const Network& network, const Bytes& frames, const Ids& action,
             const Ids& member) {
  const NetworkInput& in = network.input();
  const std::uint8_t* first = read(op, "context", frames, {kAnySize, in.context, in.height, in.width});
  const py::ssize_t count = size_of(frames.value, 0);
  const std::int64_t *actions = read(op, "action", action, {count}),
                     *members = read(op, "member", member, {count});
  Rows batch{{}, {actions, actions + count}, {members, members + count}};
  for (py::ssize_t i = 0; i < count; ++i) {
    batch.context.push_back(first + i * in.context * in.height * in.width);
  }
  return batch;
}

void evaluate_rows(const Network& network, ThreadPool& pool, const Bytes& context, const Ids& action,
                   const Ids& member, const Floats& out) {
  constexpr const char* op = "rollout";
  const Rows batch = rows_of(op, network, context, action, member);
  std::int64_t size = 0;
  for (std::size_t which = 0; which < network.outputs().size(); ++which)
    size += network.output_shape(which).size();
  float* to = write(op, "out", out, {static_cast<py::ssize_t>(batch.context.size()), size});
  const py::gil_scoped_release release;
  evaluate(network, pool, batch.rows(), to);
}

void step_rows(const Network& network, ThreadPool& pool, float reward_threshold, float end_threshold,
               const Bytes& context, const Ids& action, const Ids& member, const Bytes& frame,
               const Floats& reward, const Array<bool>& terminated) {
  constexpr const char* op = "rollout";
  const Rows batch = rows_of(op, network, context, action, member);
  const auto count = static_cast<py::ssize_t>(batch.context.size());
  const StepOut out{write(op, "frame", frame, {count, network.input().height, network.input().width}),
                    write(op, "reward", reward, {count}), write_flags(op, "terminated", terminated, {count})};
  check_apart(op, "frame", frame.value, "context", context.value);
  const Thresholds thresholds{reward_threshold, end_threshold};
  const py::gil_scoped_release release;
  check_thresholds(op, thresholds);
  check_rows(op, network, batch.rows());
  WorldRunner(network, pool, count).step(thresholds, batch.rows(), out);
}

py::typing::Tuple<int, int, int, float> roll_out(const Network& policy, const Network& world,
                                                 ThreadPool& pool, const Bytes& start, BranchRing& ring,
                                                 const Integer& horizon, float epsilon, bool samples,
                                                 const Ids& elites, bool mean, bool measured,
                                                 const Integer& changed_levels, double mask_share,
                                                 float bonus, float reward_threshold, float end_threshold,
                                                 const Integer& seed, const Integer& action_stream,
                                                 const Integer& member_stream, const Integer& step) {
  constexpr const char* op = "rollout";
  const NetworkInput& in = world.input();
  const std::uint8_t* frames = read(op, "start", start, {kAnySize, in.context, in.height, in.width});
  const py::ssize_t count = size_of(start.value, 0);
  const RolloutSpec spec =
      rollout_spec(op, horizon, epsilon, samples, elites, mean, measured, changed_levels, mask_share, bonus,
                   reward_threshold, end_threshold, seed, action_stream, member_stream, step);
  RolloutCount done{};
  {
    const py::gil_scoped_release release;
    done = rollout(policy, world, pool, spec, frames, count, ring);
  }
  return py::make_tuple(done.transitions, done.steps, done.imagined, done.doubt);
}

}  // namespace

void bind_rollout(py::module_& module) {
  py::class_<ThreadPool>(module, "ThreadPool")
      .def(py::init(&make_pool), py::arg("threads"))
      .def_property_readonly("threads", &ThreadPool::threads);
  py::class_<Network>(module, "Network")
      .def(py::init(&make_network), py::arg("layers"), py::arg("weights"), py::arg("context"),
           py::arg("height"), py::arg("width"), py::arg("actions"), py::arg("outputs"))
      .def_property_readonly("members", &Network::members)
      .def_property_readonly("multiplications", &Network::multiplications)
      .def("evaluate", &evaluate_rows, py::arg("pool"), py::arg("context"), py::arg("action"),
           py::arg("member"), py::arg("out"))
      .def("step", &step_rows, py::arg("pool"), py::arg("reward_threshold"), py::arg("end_threshold"),
           py::arg("context"), py::arg("action"), py::arg("member"), py::arg("frame"), py::arg("reward"),
           py::arg("terminated"));
  module.def("rollout", &roll_out, py::arg("policy"), py::arg("world"), py::arg("pool"), py::arg("start"),
             py::arg("ring"), py::arg("horizon"), py::arg("epsilon"), py::arg("samples"), py::arg("elites"),
             py::arg("mean"), py::arg("measured"), py::arg("changed_levels"), py::arg("mask_share"),
             py::arg("bonus"), py::arg("reward_threshold"), py::arg("end_threshold"), py::arg("seed"),
             py::arg("action_stream"), py::arg("member_stream"), py::arg("step"));
}

}  // namespace mbpo_fast::bindings
