#include "rollout/gpu/engine.h"

#include <algorithm>

#include "core/check.h"
#include "core/gpu_launch.h"
#include "rollout/gpu/steps.h"

namespace mbpo_fast::gpu {

namespace {

constexpr const char* kOp = "rollout";
constexpr std::int64_t kMaxRows = 1 << 24;

std::int64_t ceil_div(std::int64_t value, std::int64_t by) {
  return (value + by - 1) / by;
}

// Blocks that run at a time where maps lie in device memory: some for each multiprocessor of a large GPU.
std::int64_t arena_blocks(std::int64_t rows) {
  return std::min<std::int64_t>(rows, 256);
}

// Hands out a workspace, or only counts it where there is none.
class Pieces {
 public:
  explicit Pieces(unsigned char* memory) : memory_(memory) {}

  template <class T>
  T* take(std::int64_t count) {
    T* piece = memory_ ? reinterpret_cast<T*>(memory_ + bytes_) : nullptr;
    bytes_ += ceil_div(count * static_cast<std::int64_t>(sizeof(T)), 16) * 16;
    return piece;
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  unsigned char* memory_;
  std::int64_t bytes_ = 0;
};

StepState take_state(Pieces& pieces, std::int64_t rows, std::int64_t members) {
  const std::int64_t tiles = rows / kRowTile + members;
  StepState state{};
  state.alive = pieces.take<std::uint8_t>(rows);
  for (std::int32_t** lanes : {&state.branch, &state.member, &state.action, &state.order}) {
    *lanes = pieces.take<std::int32_t>(rows);
  }
  for (std::int32_t** of_tile : {&state.tile_first, &state.tile_rows, &state.tile_member}) {
    *of_tile = pieces.take<std::int32_t>(tiles);
  }
  state.lanes = pieces.take<std::int32_t>(1), state.tiles = pieces.take<std::int32_t>(1);
  return state;
}

// A rollout's share of the workspace. The policy's kept values make room for the world model's.
struct Memory {
  StepState state;
  float *values, *logits;
  Half* kept;
  unsigned char* arena;
};

Memory take_memory(Pieces& pieces, const Program& policy, const Program& world, std::int64_t members,
                   std::int64_t rows) {
  const StepState state = take_state(pieces, rows, members);
  float* values = pieces.take<float>(rows * policy.outputs_of_row);
  float* logits = pieces.take<float>(rows * world.outputs_of_row);
  Half* kept = pieces.take<Half>(rows * std::max(policy.kept_of_row, world.kept_of_row));
  const std::int64_t arena = std::max(policy.arena_bytes, world.arena_bytes);
  return {state, values, logits, kept, pieces.take<unsigned char>(arena_blocks(rows) * arena)};
}

void check_rows(std::int64_t rows) {
  MBPO_CHECK(rows >= 0 && rows <= kMaxRows, kOp, text("0 to ", kMaxRows, " rows"), rows);
}

void check_branches(const DeviceBranches& branches, std::int64_t first) {
  MBPO_CHECK(
      std::min({branches.capacity, branches.context, branches.horizon}) >= 1 && branches.horizon <= kMaxRows,
      kOp, text("branches of at least one place, frame and step, and at most ", kMaxRows, " steps"),
      text(branches.capacity, ", ", branches.context, ", ", branches.horizon));
  checked_product(kOp,
                  {branches.capacity, branches.context + branches.horizon, branches.height, branches.width});
  MBPO_CHECK(first >= 0 && first < branches.capacity, kOp,
             text("a first place in [0, ", branches.capacity, ")"), first);
}

void check_workspace(const Workspace& workspace, std::int64_t needed) {
  MBPO_CHECK(workspace.bytes >= needed, kOp, text("a workspace of ", needed, " bytes"), workspace.bytes);
}

// What the kernels of one network have in common.
struct Run {
  Rows rows;
  RowTiles tiles;
  FrameSource frames;
  float* outputs;
  Half* kept;
  unsigned char* arena;
  std::int64_t most_rows, members;
};

void run_network(const Launcher& launch, const LoadedNetwork& loaded, const Run& run) {
  const Program& program = loaded.network.program();
  const Weights weights{loaded.bytes + loaded.network.weights_offset(), program.member_bytes};
  const Values values{run.kept, program.kept_of_row, run.outputs, program.outputs_of_row};
  const auto* ops = reinterpret_cast<const Op*>(loaded.bytes);
  for (const Stage& stage : program.stages) {
    if (stage.is_linear) {
      const std::int64_t groups = padded_channels(stage.linear.channels) / kChannelGroup;
      const std::int64_t tiles = run.most_rows / kRowTile + run.members;
      launch(LinearTiles{stage.linear, weights, run.rows, run.tiles, values},
             tiles * ceil_div(groups, launch.warps<LinearTiles>()),
             kRowTile * kSlabStep * std::int64_t{sizeof(Half)});
    } else {
      const bool in_shared = stage.shared_bytes <= loaded.network.shared_limit();
      const std::int64_t blocks = in_shared ? run.most_rows : arena_blocks(run.most_rows);
      const auto layers = [&](auto kernel) {
        kernel = {ops + stage.first,
                  stage.count,
                  static_cast<int>(blocks),
                  weights,
                  run.rows,
                  run.frames,
                  values,
                  run.arena,
                  program.arena_bytes};
        launch(kernel, blocks, in_shared ? stage.shared_bytes : 0);
      };
      in_shared ? layers(RowLayers<true>{}) : layers(RowLayers<false>{});
    }
  }
}

template <class Kernel>
void launch_lanes(const Launcher& launch, const Kernel& kernel, std::int64_t rows) {
  launch(kernel, ceil_div(rows, launch.threads<Kernel>()), 0);
}

Select make_select(const StepState& state, std::int64_t count, std::int64_t members, const RolloutSpec& spec,
                   std::int64_t step) {
  Select select{state,
                static_cast<std::int32_t>(count),
                static_cast<std::int32_t>(members),
                spec.member,
                static_cast<std::int32_t>(spec.elites.size()),
                {}};
  select.draws.step += static_cast<std::uint64_t>(step);
  std::copy(spec.elites.begin(), spec.elites.end(), select.elites);
  return select;
}

}  // namespace

std::int64_t shared_memory_limit() {
#ifdef __CUDACC__
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device), "device");
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "shared memory");
  return bytes;
#else
  return 227 << 10;  // as on compute capability 9.0
#endif
}

GpuNetwork::GpuNetwork(std::shared_ptr<const Network> network, std::span<const float> numbers,
                       Purpose purpose, std::int64_t shared_limit)
    : network_(std::move(network)), purpose_(purpose), shared_limit_(shared_limit) {
  MBPO_CHECK(numbers.size() % static_cast<std::size_t>(network_->members()) == 0, kOp,
             text("weights of ", network_->members(), " members"), numbers.size());
  if (purpose == Purpose::kFrames) cell_of_world(*network_);
  program_ = compile(*network_, numbers, purpose, shared_limit);
  const auto* ops = reinterpret_cast<const unsigned char*>(program_.ops.data());
  bytes_.assign(ops, ops + program_.ops.size() * sizeof(Op));
  bytes_.resize(static_cast<std::size_t>(ceil_div(static_cast<std::int64_t>(bytes_.size()), 16) * 16));
  weights_offset_ = static_cast<std::int64_t>(bytes_.size());
  bytes_.insert(bytes_.end(), program_.weights.begin(), program_.weights.end());
  program_.weights = {};
}

std::int64_t GpuNetwork::shared_bytes() const {
  std::int64_t most = 0;
  for (const Stage& stage : program_.stages) most = std::max<std::int64_t>(most, stage.shared_bytes);
  return most;
}

std::int64_t GpuNetwork::workspace_bytes(std::int64_t rows) const {
  check_rows(rows);
  Pieces pieces(nullptr);
  take_state(pieces, rows, network_->members());
  pieces.take<Half>(rows * program_.kept_of_row);
  pieces.take<unsigned char>(arena_blocks(rows) * program_.arena_bytes);
  return pieces.bytes();
}

void evaluate(const LoadedNetwork& loaded, const Workspace& workspace, const std::uint8_t* context,
              const std::int32_t* action, const std::int32_t* member, std::int64_t rows, float* out,
              std::intptr_t stream) {
  const GpuNetwork& network = loaded.network;
  MBPO_CHECK(network.purpose() == Purpose::kValues, kOp, "a network of values", "one of frames");
  check_workspace(workspace, network.workspace_bytes(rows));
  const std::int64_t members = network.network().members();
  Pieces pieces(workspace.memory);
  StepState state = take_state(pieces, rows, members);
  Half* kept = pieces.take<Half>(rows * network.program().kept_of_row);
  auto* arena = pieces.take<unsigned char>(arena_blocks(rows) * network.program().arena_bytes);
  const Launcher launch(stream);
  state.member = const_cast<std::int32_t*>(member);
  launch(Group{state, static_cast<std::int32_t>(rows), static_cast<std::int32_t>(members)}, 1,
         2 * members * std::int64_t{sizeof(int)});
  const NetworkInput& in = network.network().input();
  const FrameSource frames{context, nullptr, in.context, 0, 0, 1, 0, in.height, in.width, 0};
  const Rows table{state.lanes, state.order, nullptr, member, action};
  const RowTiles tiles{state.tiles, state.tile_first, state.tile_rows, state.tile_member};
  run_network(launch, loaded, {table, tiles, frames, out, kept, arena, rows, members});
}

std::int64_t rollout_workspace_bytes(const GpuNetwork& policy, const GpuNetwork& world, std::int64_t count) {
  check_rows(count);
  Pieces pieces(nullptr);
  take_memory(pieces, policy.program(), world.program(), world.network().members(), count);
  return pieces.bytes();
}

void rollout(const LoadedNetwork& policy, const LoadedNetwork& world, const Workspace& workspace,
             const RolloutSpec& spec, const std::uint8_t* start, std::int64_t count,
             const DeviceBranches& branches, std::int64_t first, std::intptr_t stream) {
  const NetworkInput& in = world.network.network().input();
  check_rollout(policy.network.network(), world.network.network(), spec, count,
                {branches.capacity, branches.context, branches.horizon, branches.height, branches.width});
  MBPO_CHECK(policy.network.purpose() == Purpose::kValues && world.network.purpose() == Purpose::kFrames, kOp,
             "a policy of values and a world model of frames", "other purposes");
  MBPO_CHECK(!spec.mean && !spec.uncertainty.measured, kOp, "one member a row on a GPU", "all elites asked");
  check_branches(branches, first);
  MBPO_CHECK(spec.elites.size() <= kMaxElites, kOp, text("at most ", kMaxElites, " elites"),
             spec.elites.size());
  check_workspace(workspace, rollout_workspace_bytes(policy.network, world.network, count));
  const std::int64_t members = world.network.network().members(), actions = in.actions;
  Pieces pieces(workspace.memory);
  const Memory memory =
      take_memory(pieces, policy.network.program(), world.network.program(), members, count);
  const StepState& state = memory.state;
  FrameSource frames{start,
                     branches.frame,
                     in.context,
                     branches.context + branches.horizon,
                     branches.context,
                     branches.capacity,
                     first,
                     in.height,
                     in.width,
                     0};
  const BranchTable table{branches.action, branches.reward, branches.terminated,
                          branches.member, branches.length, branches.horizon};
  const Launcher launch(stream);
  launch(Begin{frames, state, table}, count, 0);
  for (std::int64_t step = 0; step < spec.horizon; ++step) {
    frames.step = step;
    DrawKey acts = spec.action;
    acts.step += static_cast<std::uint64_t>(step);
    launch(make_select(state, count, members, spec, step), 1,
           (launch.threads<Select>() + 2 * members) * std::int64_t{sizeof(int)});
    run_network(launch, policy,
                {{state.lanes, nullptr, state.branch, nullptr, nullptr},
                 {},
                 frames,
                 memory.values,
                 memory.kept,
                 memory.arena,
                 count,
                 1});
    launch_lanes(
        launch,
        Choose{state, memory.values, static_cast<std::int32_t>(actions), {spec.epsilon, spec.samples}, acts},
        count);
    run_network(launch, world,
                {{state.lanes, state.order, state.branch, state.member, state.action},
                 {state.tiles, state.tile_first, state.tile_rows, state.tile_member},
                 frames,
                 memory.logits,
                 memory.kept,
                 memory.arena,
                 count,
                 members});
    launch_lanes(launch, Finish{state, frames, table, memory.logits, spec.thresholds}, count);
  }
}

}  // namespace mbpo_fast::gpu
