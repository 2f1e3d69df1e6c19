// The kernels for GPUs. Compiled twice: as `_cuda`, and as `_cuda_emulated` for tests without one.
// Device memory comes as addresses, the stream as its handle.
#include "bindings/rollout_arguments.h"
#include "preprocess/gpu.h"
#include "replay/gpu.h"
#include "rollout/gpu/engine.h"

namespace mbpo_fast::bindings {

namespace {

constexpr const char* kOp = "rollout";

using Bytes = Array<std::uint8_t>;
using Ids = Array<std::int64_t>;
using Floats = Array<float>;

// A network for the GPU, with where its bytes lie there.
struct Loaded {
  std::unique_ptr<gpu::GpuNetwork> network;
  const unsigned char* bytes = nullptr;

  gpu::LoadedNetwork get() const {
    MBPO_CHECK(bytes, kOp, "a network whose bytes are on the device", "one that is not loaded");
    return {*network, bytes};
  }
};

template <class T>
T* address(std::intptr_t number) {
  return reinterpret_cast<T*>(number);
}

std::unique_ptr<Loaded> make_network(const Ids& layers, const Floats& weights, const Integer& context,
                                     const Integer& height, const Integer& width, const Integer& actions,
                                     const Ids& outputs, bool predicts_frames, const Integer& shared_limit) {
  const std::int64_t* table = read(kOp, "layers", layers, {kAnySize, kLayerFields});
  const float* numbers = read(kOp, "weights", weights, {kAnySize, kAnySize});
  const py::ssize_t count = length(kOp, "outputs", outputs);
  const std::int64_t* registers = read(kOp, "outputs", outputs, {count});
  const NetworkInput input{int64(kOp, "context", context), int64(kOp, "height", height),
                           int64(kOp, "width", width), int64(kOp, "actions", actions)};
  const std::int64_t limit = int64(kOp, "shared_limit", shared_limit);
  const auto size = [](const auto& array, py::ssize_t axis) {
    return py::reinterpret_borrow<py::array>(array.value).shape(axis);
  };
  const std::span rows(table, static_cast<std::size_t>(size(layers, 0) * kLayerFields));
  const py::ssize_t members = size(weights, 0);
  const std::span all(numbers, static_cast<std::size_t>(members * size(weights, 1)));
  const py::gil_scoped_release release;
  auto network = std::make_shared<const Network>(kOp, rows, all, members, input,
                                                 std::span(registers, static_cast<std::size_t>(count)));
  const auto purpose = predicts_frames ? gpu::Purpose::kFrames : gpu::Purpose::kValues;
  auto loaded = std::make_unique<Loaded>();
  loaded->network = std::make_unique<gpu::GpuNetwork>(std::move(network), all, purpose, limit);
  return loaded;
}

py::array_t<std::uint8_t> bytes_of(const Loaded& loaded) {
  return to_array(loaded.network->bytes());
}

void evaluate_rows(const Loaded& loaded, std::intptr_t workspace, std::int64_t workspace_bytes,
                   std::intptr_t context, std::intptr_t action, std::intptr_t member, const Integer& rows,
                   std::intptr_t out, std::intptr_t stream) {
  const std::int64_t count = int64(kOp, "rows", rows);
  const py::gil_scoped_release release;
  gpu::evaluate(loaded.get(), {address<unsigned char>(workspace), workspace_bytes},
                address<std::uint8_t>(context), address<std::int32_t>(action), address<std::int32_t>(member),
                count, address<float>(out), stream);
}

std::int64_t workspace_bytes(const Loaded& policy, const Loaded& world, const Integer& count,
                             const Integer& asked) {
  return gpu::rollout_workspace_bytes(*policy.network, *world.network, int64(kOp, "count", count),
                                      int64(kOp, "asked", asked));
}

void roll_out(const Loaded& policy, const Loaded& world, std::intptr_t workspace, std::int64_t workspace_size,
              std::intptr_t start, const Integer& count, const gpu::DeviceBranches& branches,
              const Integer& first, const Integer& horizon, float epsilon, bool samples, const Ids& elites,
              bool mean, bool measured, const Integer& changed_levels, double mask_share, float bonus,
              float reward_threshold, float end_threshold, const Integer& seed, const Integer& action_stream,
              const Integer& member_stream, const Integer& step, std::intptr_t stream) {
  const RolloutSpec spec =
      rollout_spec(kOp, horizon, epsilon, samples, elites, mean, measured, changed_levels, mask_share, bonus,
                   reward_threshold, end_threshold, seed, action_stream, member_stream, step);
  const std::int64_t rows = int64(kOp, "count", count), place = int64(kOp, "first", first);
  const py::gil_scoped_release release;
  gpu::rollout(policy.get(), world.get(), {address<unsigned char>(workspace), workspace_size}, spec,
               address<std::uint8_t>(start), rows, branches, place, stream);
}

gpu::DeviceBranches make_branches(const Integer& capacity, const Integer& context, const Integer& horizon,
                                  const Integer& height, const Integer& width, std::intptr_t frame,
                                  std::intptr_t action, std::intptr_t reward, std::intptr_t terminated,
                                  std::intptr_t member, std::intptr_t count, std::intptr_t doubt) {
  return {int64(kOp, "capacity", capacity), int64(kOp, "context", context), int64(kOp, "horizon", horizon),
          int64(kOp, "height", height),     int64(kOp, "width", width),     address<std::uint8_t>(frame),
          address<std::int64_t>(action),    address<float>(reward),         address<std::uint8_t>(terminated),
          address<std::int16_t>(member),    address<std::int32_t>(count),   address<float>(doubt)};
}

std::unique_ptr<gpu::GpuPreprocess> make_preprocess(const Integer& source_height, const Integer& source_width,
                                                    const Integer& height, const Integer& width) {
  constexpr const char* op = "preprocess_frames";
  return std::make_unique<gpu::GpuPreprocess>(int64(op, "source_height", source_height),
                                              int64(op, "source_width", source_width),
                                              int64(op, "height", height), int64(op, "width", width));
}

void bind_gpu(py::module_& module) {
  module.doc() = "Kernels of mbpo_fast for GPUs: use them through mbpo_fast.ops.gpu.";
  module.def("shared_memory_limit", &gpu::shared_memory_limit);
  py::class_<Loaded>(module, "Network")
      .def(py::init(&make_network), py::arg("layers"), py::arg("weights"), py::arg("context"),
           py::arg("height"), py::arg("width"), py::arg("actions"), py::arg("outputs"),
           py::arg("predicts_frames"), py::arg("shared_limit"))
      .def_property_readonly("bytes", &bytes_of)
      .def_property_readonly("shared_bytes", [](const Loaded& own) { return own.network->shared_bytes(); })
      .def_property_readonly("kernels",
                             [](const Loaded& own) { return own.network->program().stages.size(); })
      .def(
          "load", [](Loaded& own, std::intptr_t at) { own.bytes = address<unsigned char>(at); },
          py::arg("address"))
      .def(
          "workspace_bytes",
          [](const Loaded& own, const Integer& rows) {
            return own.network->workspace_bytes(int64(kOp, "rows", rows));
          },
          py::arg("rows"))
      .def("evaluate", &evaluate_rows, py::arg("workspace"), py::arg("workspace_bytes"), py::arg("context"),
           py::arg("action"), py::arg("member"), py::arg("rows"), py::arg("out"), py::arg("stream"));
  py::class_<gpu::DeviceBranches>(module, "Branches")
      .def(py::init(&make_branches), py::arg("capacity"), py::arg("context"), py::arg("horizon"),
           py::arg("height"), py::arg("width"), py::arg("frame"), py::arg("action"), py::arg("reward"),
           py::arg("terminated"), py::arg("member"), py::arg("length"), py::arg("doubt"));
  py::class_<gpu::GpuPreprocess>(module, "Preprocess")
      .def(py::init(&make_preprocess), py::arg("source_height"), py::arg("source_width"), py::arg("height"),
           py::arg("width"))
      .def_property_readonly("bytes", [](const gpu::GpuPreprocess& own) { return to_array(own.bytes()); })
      .def(
          "run",
          [](const gpu::GpuPreprocess& own, std::intptr_t tables, std::intptr_t frames, const Integer& count,
             std::intptr_t out, std::intptr_t stream) {
            const std::int64_t pairs = int64("preprocess_frames", "count", count);
            const py::gil_scoped_release release;
            own.run(address<unsigned char>(tables), address<std::uint8_t>(frames), pairs,
                    address<std::uint8_t>(out), stream);
          },
          py::arg("tables"), py::arg("frames"), py::arg("count"), py::arg("out"), py::arg("stream"));
  module.def(
      "gather_frames",
      [](std::intptr_t frames, const Integer& stored, const Integer& frame_bytes, std::intptr_t index,
         const Integer& count, std::intptr_t out, std::intptr_t stream) {
        constexpr const char* op = "gather_frames";
        const std::int64_t frames_there = int64(op, "stored", stored), rows = int64(op, "count", count);
        const std::int64_t bytes = int64(op, "frame_bytes", frame_bytes);
        const py::gil_scoped_release release;
        gpu::gather_frames(address<std::uint8_t>(frames), frames_there, bytes, address<std::int64_t>(index),
                           rows, address<std::uint8_t>(out), stream);
      },
      py::arg("frames"), py::arg("stored"), py::arg("frame_bytes"), py::arg("index"), py::arg("count"),
      py::arg("out"), py::arg("stream"));
  module.def("workspace_bytes", &workspace_bytes, py::arg("policy"), py::arg("world"), py::arg("count"),
             py::arg("asked"));
  module.def("rollout", &roll_out, py::arg("policy"), py::arg("world"), py::arg("workspace"),
             py::arg("workspace_bytes"), py::arg("start"), py::arg("count"), py::arg("branches"),
             py::arg("first"), py::arg("horizon"), py::arg("epsilon"), py::arg("samples"), py::arg("elites"),
             py::arg("mean"), py::arg("measured"), py::arg("changed_levels"), py::arg("mask_share"),
             py::arg("bonus"), py::arg("reward_threshold"), py::arg("end_threshold"), py::arg("seed"),
             py::arg("action_stream"), py::arg("member_stream"), py::arg("step"), py::arg("stream"));
}

}  // namespace

}  // namespace mbpo_fast::bindings

PYBIND11_MODULE(MBPO_FAST_MODULE, module) {
  mbpo_fast::bindings::bind_gpu(module);
}
