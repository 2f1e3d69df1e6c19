// What a step of a rollout does around its networks: choose rows, actions and members, decide, note down.
#pragma once

#include "core/philox.h"
#include "rollout/decisions.h"
#include "rollout/gpu/consensus.h"
#include "rollout/gpu/kernels.h"

namespace mbpo_fast::gpu {

inline constexpr int kMaxElites = 1024;

// Begins the branches: their real frames into the buffer.
struct Begin {
  static constexpr int kWarps = 4;
  FrameSource frames;
  StepState state;
  BranchTable table;

  MBPO_GPU void operator()(const Block& block, unsigned char*) const {
    const std::int64_t branch = block.index();
    const std::int64_t bytes = frames.ring_context * frames.bytes();
    const std::uint8_t* from = frames.newest(branch, frames.ring_context, 0);
    std::uint8_t* to = frames.in_buffer(branch, 0);
    const bool in_words = frames.bytes() % static_cast<std::int64_t>(sizeof(Words)) == 0;
    const std::int64_t words = in_words ? bytes / static_cast<std::int64_t>(sizeof(Words)) : 0;
    for (std::int64_t i = block.thread(); i < words; i += block.threads()) {
      reinterpret_cast<Words*>(to)[i] = reinterpret_cast<const Words*>(from)[i];
    }
    const std::int64_t copied = words * static_cast<std::int64_t>(sizeof(Words));
    for (std::int64_t i = copied + block.thread(); i < bytes; i += block.threads()) to[i] = from[i];
    for (std::int64_t i = block.thread(); i < table.horizon; i += block.threads()) {
      table.doubt[frames.place(branch) * table.horizon + i] = -1.0f;
    }
    if (block.thread() != 0) return;
    state.alive[branch] = 1;
    table.length[frames.place(branch)] = 0;
  }
};

// Lanes sorted by member, cut into tiles; one block. `counts` is shared memory: [2, members].
MBPO_GPU void group_lanes(const Block& block, const StepState& state, int lanes, int members, int* counts) {
  int* next = counts + members;
  for (int m = block.thread(); m < members; m += block.threads()) counts[m] = 0;
  block.sync();
  for (int i = block.thread(); i < lanes; i += block.threads()) atomic_add(counts + state.member[i], 1);
  block.sync();
  if (block.thread() == 0) {
    int first = 0, tiles = 0;
    for (int m = 0; m < members; ++m) {
      next[m] = first;
      for (int row = 0; row < counts[m]; row += kRowTile, ++tiles) {
        state.tile_first[tiles] = first + row;
        state.tile_rows[tiles] = counts[m] - row < kRowTile ? counts[m] - row : kRowTile;
        state.tile_member[tiles] = m;
      }
      first += counts[m];
    }
    *state.tiles = tiles;
  }
  block.sync();
  // Rows of a member may come in any order: a row's result does not depend on its neighbours.
  for (int i = block.thread(); i < lanes; i += block.threads()) {
    state.order[atomic_add(next + state.member[i], 1)] = i;
  }
}

// The branches that go on, a member for each; one block.
struct Select {
  static constexpr int kWarps = 32;
  StepState state;
  std::int32_t branches, members;
  DrawKey draws;
  std::int32_t num_elites;
  std::int16_t elites[kMaxElites];  // by value: a kernel's arguments outlive the call that launches it

  MBPO_GPU void operator()(const Block& block, unsigned char* shared) const {
    int* sums = reinterpret_cast<int*>(shared);
    const int share = (branches + block.threads() - 1) / block.threads();
    const int from = block.thread() * share;
    const int end = from + share < branches ? from + share : branches;
    int own = 0, lanes = 0;
    for (int b = from; b < end; ++b) own += state.alive[b];
    int lane = exclusive_sum(block, sums, own, lanes);
    for (int b = from; b < end; ++b) {
      if (state.alive[b]) state.branch[lane++] = b;
    }
    for (int i = block.thread(); i < lanes; i += block.threads()) {
      const PhiloxWords words = draws.words(static_cast<std::uint32_t>(i));
      state.drawn[i] = static_cast<std::int32_t>(integer_from(words[0], words[1], num_elites));
      state.member[i] = elites[state.drawn[i]];
    }
    if (block.thread() == 0) *state.lanes = lanes;
    block.sync();
    group_lanes(block, state, lanes, members, sums + block.threads());
  }
};

// Actions, a thread each; values [lanes, actions].
struct Choose {
  static constexpr int kWarps = 4;
  StepState state;
  const float* values;
  std::int32_t actions;
  Choice choice;
  DrawKey draws;

  MBPO_GPU void operator()(const Block& block, unsigned char*) const {
    const int lane = block.index() * block.threads() + block.thread();
    if (lane >= *state.lanes) return;
    const float* own = values + std::int64_t{lane} * actions;
    state.action[lane] = static_cast<std::int32_t>(
        choose_action(draws.words(static_cast<std::uint32_t>(lane)), own, actions, choice));
  }
};

// Reward and end from the logits [lanes, 4] or from what the elites agreed on, a thread each; the step into
// the buffer, unless it is masked, which ends its branch.
struct Finish {
  static constexpr int kWarps = 4;
  StepState state;
  FrameSource frames;
  BranchTable table;
  const float* logits;
  Agreement agreement;  // null where the elites were not asked
  Thresholds thresholds;
  float bonus;
  double mask_share;

  // Among the share of highest doubt; of equal ones the earlier lane is.
  MBPO_GPU bool is_masked(int lane, int lanes) const {
    const int count = static_cast<int>(static_cast<double>(lanes) * mask_share);
    if (count == 0) return false;
    const float* doubt = agreement.doubt;
    int before = 0;
    for (int i = 0; i < lanes; ++i) {
      before += doubt[i] > doubt[lane] || (doubt[i] == doubt[lane] && i < lane);
    }
    return before < count;
  }

  MBPO_GPU void operator()(const Block& block, unsigned char*) const {
    const int lane = block.index() * block.threads() + block.thread();
    if (lane >= *state.lanes) return;
    const bool asked = agreement.doubt;
    const Outcome outcome =
        asked ? agreement.outcome[lane] : outcome_of(logits + lane * (kRewardClasses + 1));
    const bool ends = outcome.end > thresholds.end;
    const std::int64_t branch = state.branch[lane], place = frames.place(branch);
    const std::int64_t at = place * table.horizon + frames.step;
    if (asked) table.doubt[at] = agreement.doubt[lane];
    if (asked && is_masked(lane, *state.lanes)) {
      state.alive[branch] = 0;
      return;
    }
    table.action[at] = state.action[lane];
    table.reward[at] =
        decide_reward(outcome, thresholds.reward) + (asked ? bonus * agreement.doubt[lane] : 0.0f);
    table.terminated[at] = ends;
    table.member[at] = static_cast<std::int16_t>(state.member[lane]);
    table.length[place] = static_cast<std::int32_t>(frames.step) + 1;
    state.alive[branch] = !ends;
  }
};

// The rows of a batch as they are given: for a network alone.
struct Group {
  static constexpr int kWarps = 32;
  StepState state;
  std::int32_t rows, members;

  MBPO_GPU void operator()(const Block& block, unsigned char* shared) const {
    if (block.thread() == 0) *state.lanes = rows;
    group_lanes(block, state, rows, members, reinterpret_cast<int*>(shared));
  }
};

}  // namespace mbpo_fast::gpu
