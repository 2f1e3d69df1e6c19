// Device memory of a rollout under way, and the model buffer's columns.
#pragma once

#include <cstdint>

#include "rollout/decisions.h"

namespace mbpo_fast::gpu {

// Of B branches. A lane is a branch that has not ended, in order; draws are by lane, as on the CPU.
struct StepState {
  std::uint8_t* alive;                                 // [B] of each branch
  std::int32_t *branch, *member, *action, *order;      // [B] by lane; order: lanes grouped by member
  std::int32_t* drawn;                                 // [B] by lane: the member's place among the elites
  std::int32_t *tile_first, *tile_rows, *tile_member;  // [B / kRowTile + members]
  std::int32_t *lanes, *tiles;                         // [1] how many
};

// What each elite says of every row, where all of them are asked.
struct Opinions {
  std::uint8_t* frame;  // [elites, B, h, w] by branch
  float* logits;        // [elites, B, 4] by lane
  std::int32_t elites;
  std::int64_t rows;  // B
};

// What becomes of the elites' words, [B] by lane. Null where they are not asked.
struct Agreement {
  Outcome* outcome;
  float* doubt;
};

// The model buffer's steps, [branches, horizon] and [branches].
struct BranchTable {
  std::int64_t* action;
  float* reward;
  std::uint8_t* terminated;
  std::int16_t* member;
  std::int32_t* length;
  float* doubt;  // of every step that was imagined, the masked ones too; -1 where none was
  std::int64_t horizon;
};

}  // namespace mbpo_fast::gpu
