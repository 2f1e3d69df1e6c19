#include "rollout/gpu/engine.h"

#include <algorithm>

#include "core/check.h"
#include "core/gpu_launch.h"
#include "rollout/gpu/steps.h"
#include "rollout/gpu/workspace.h"

namespace mbpo_fast::gpu {

namespace {

constexpr const char* kOp = "rollout";
constexpr std::int64_t kMaxRows = 1 << 24;

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

// One call of rollout(): what its steps launch.
class Rollout {
 public:
  Rollout(const LoadedNetwork& policy, const LoadedNetwork& world, const RolloutSpec& spec,
          const Memory& memory, const FrameSource& frames, const BranchTable& table, std::int64_t count,
          std::intptr_t stream)
      : policy_(policy),
        world_(world),
        spec_(spec),
        memory_(memory),
        frames_(frames),
        table_(table),
        count_(count),
        members_(world.network.network().members()),
        launch_(stream) {}

  void run() {
    launch_(Begin{frames_, memory_.state, table_}, count_, 0);
    for (; frames_.step < spec_.horizon; ++frames_.step) {
      select();
      choose();
      elites_asked(spec_) ? ask_all() : ask_drawn();
      const Uncertainty& uncertainty = spec_.uncertainty;
      launch_lanes(launch_,
                   Finish{memory_.state, frames_, table_, memory_.logits, memory_.agreement, spec_.thresholds,
                          uncertainty.bonus, uncertainty.mask_share},
                   count_);
    }
  }

 private:
  DrawKey now(DrawKey key) const {
    key.step += static_cast<std::uint64_t>(frames_.step);
    return key;
  }

  void select() const {
    Select select{memory_.state,
                  static_cast<std::int32_t>(count_),
                  static_cast<std::int32_t>(members_),
                  now(spec_.member),
                  static_cast<std::int32_t>(spec_.elites.size()),
                  {}};
    std::copy(spec_.elites.begin(), spec_.elites.end(), select.elites);
    launch_(select, 1, (launch_.threads<Select>() + 2 * members_) * std::int64_t{sizeof(int)});
  }

  void choose() const {
    const StepState& state = memory_.state;
    run_network(launch_, policy_,
                {{state.lanes, nullptr, state.branch, nullptr, nullptr},
                 {},
                 frames_,
                 memory_.values,
                 memory_.kept,
                 memory_.arena,
                 count_,
                 1});
    const auto actions = static_cast<std::int32_t>(policy_.network.network().input().actions);
    launch_lanes(launch_,
                 Choose{state, memory_.values, actions, {spec_.epsilon, spec_.samples}, now(spec_.action)},
                 count_);
  }

  void ask_drawn() const {
    const StepState& state = memory_.state;
    run_network(launch_, world_,
                {{state.lanes, state.order, state.branch, state.member, state.action},
                 {state.tiles, state.tile_first, state.tile_rows, state.tile_member},
                 frames_,
                 memory_.logits,
                 memory_.kept,
                 memory_.arena,
                 count_,
                 members_});
  }

  // Every elite about every row, one after the other.
  void ask_all() const {
    const StepState& state = memory_.state;
    const std::int64_t outputs = world_.network.program().outputs_of_row;
    for (std::int64_t e = 0; e < elites_asked(spec_); ++e) {
      const auto elite = static_cast<std::int32_t>(spec_.elites[static_cast<std::size_t>(e)]);
      FrameSource frames = frames_;
      frames.said = memory_.opinions.frame + e * count_ * frames.bytes();
      run_network(launch_, world_,
                  {{state.lanes, nullptr, state.branch, nullptr, state.action, elite},
                   {nullptr, nullptr, nullptr, nullptr, elite},
                   frames,
                   memory_.logits + e * count_ * outputs,
                   memory_.kept,
                   memory_.arena,
                   count_,
                   1});
    }
    launch_(Agree{state, frames_, memory_.opinions, memory_.agreement, spec_.mean,
                  static_cast<std::int32_t>(spec_.uncertainty.changed_levels)},
            count_, Agree::shared_bytes(launch_.threads<Agree>()));
  }

  const LoadedNetwork &policy_, &world_;
  const RolloutSpec& spec_;
  const Memory& memory_;
  FrameSource frames_;
  BranchTable table_;
  std::int64_t count_, members_;
  Launcher launch_;
};

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

std::int64_t rollout_workspace_bytes(const GpuNetwork& policy, const GpuNetwork& world, std::int64_t count,
                                     std::int64_t asked) {
  check_rows(count);
  MBPO_CHECK(asked >= 0 && asked <= kMaxElites, kOp, text("0 to ", kMaxElites, " elites asked"), asked);
  Pieces pieces(nullptr);
  take_memory(pieces, policy, world, count, asked);
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
  check_branches(branches, first);
  MBPO_CHECK(spec.elites.size() <= kMaxElites, kOp, text("at most ", kMaxElites, " elites"),
             spec.elites.size());
  const std::int64_t asked = elites_asked(spec);
  check_workspace(workspace, rollout_workspace_bytes(policy.network, world.network, count, asked));
  Pieces pieces(workspace.memory);
  const Memory memory = take_memory(pieces, policy.network, world.network, count, asked);
  const FrameSource frames{start,
                           branches.frame,
                           in.context,
                           branches.context + branches.horizon,
                           branches.context,
                           branches.capacity,
                           first,
                           in.height,
                           in.width,
                           0};
  const BranchTable table{branches.action, branches.reward, branches.terminated, branches.member,
                          branches.length, branches.doubt,  branches.horizon};
  Rollout(policy, world, spec, memory, frames, table, count, stream).run();
}

}  // namespace mbpo_fast::gpu
