// Shares a batch out to threads: blocks of rows that one member runs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/thread_pool.h"
#include "rollout/forward.h"

namespace mbpo_fast {

struct StepRows {
  const std::uint8_t* const* context;  // [B], each u8 [C, h, w]
  const std::int64_t* action;          // [B]; null where the network asks for none
  const std::int64_t* member;
  std::int64_t count;
};

// Lanes sorted by member, cut into blocks of one member each.
struct Groups {
  std::vector<std::int64_t> lanes;
  struct Block {
    std::int64_t first, count, member;
  };
  std::vector<Block> blocks;
};

Groups group_by_member(const std::int64_t* member, std::int64_t count, std::int64_t members,
                       std::int64_t most_rows);

// Rows that a thread should take at a time.
std::int64_t rows_of_block(const Network& network, std::int64_t rows, std::int64_t threads);

// A network with scratch memory for each thread of a pool.
class Runner {
 public:
  Runner(const Network& network, ThreadPool& pool, std::int64_t rows)
      : network_(network), pool_(pool), workers_(static_cast<std::size_t>(pool.threads())) {
    most_rows_ = rows_of_block(network, rows, pool.threads());
  }

  // consume(forward, lane, i) for every row, on the thread that ran it: output(which, i) are its results.
  template <class Consume>
  void run(const StepRows& rows, Consume consume) {
    const Groups groups = group_by_member(rows.member, rows.count, network_.members(), most_rows_);
    pool_.run(static_cast<std::int64_t>(groups.blocks.size()), [&](std::int64_t item, std::int64_t worker) {
      const Groups::Block& block = groups.blocks[static_cast<std::size_t>(item)];
      const std::span lanes(groups.lanes.data() + block.first, static_cast<std::size_t>(block.count));
      std::unique_ptr<Forward>& forward = workers_[static_cast<std::size_t>(worker)];
      if (!forward) forward = std::make_unique<Forward>(network_, most_rows_);
      forward->run({rows.context, rows.action, lanes, block.member},
                   [&](std::int64_t i) { consume(*forward, lanes[static_cast<std::size_t>(i)], i); });
    });
  }

 private:
  const Network& network_;
  ThreadPool& pool_;
  std::int64_t most_rows_ = 1;
  std::vector<std::unique_ptr<Forward>> workers_;
};

// All outputs of `network` for each row, one after the other in their plain layout, into out [B, sum of
// sizes].
void evaluate(const Network& network, ThreadPool& pool, const StepRows& rows, float* out);

// Throws std::invalid_argument for a member or an action that the network does not have.
void check_rows(const char* op, const Network& network, const StepRows& rows);

}  // namespace mbpo_fast
