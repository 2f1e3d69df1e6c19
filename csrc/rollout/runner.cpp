#include "rollout/runner.h"

#include "core/check.h"

namespace mbpo_fast {

namespace {

// A large linear layer reads all its weights once for each block: many rows pay that off. Few rows share out
// evenly.
constexpr std::int64_t kLinearBlock = 128, kBlock = 16;

}  // namespace

std::int64_t rows_of_block(const Network& network, std::int64_t rows, std::int64_t threads) {
  const std::int64_t fair = (rows + threads - 1) / threads;
  bool is_batched = false;
  for (std::size_t i = 0; i < network.layers().size(); ++i) is_batched |= network.is_batched(i);
  return std::max<std::int64_t>(1, std::min(fair, is_batched ? kLinearBlock : kBlock));
}

Groups group_by_member(const std::int64_t* member, std::int64_t count, std::int64_t members,
                       std::int64_t most_rows) {
  std::vector<std::int64_t> ends(static_cast<std::size_t>(members) + 1);
  for (std::int64_t i = 0; i < count; ++i) ++ends[static_cast<std::size_t>(member[i]) + 1];
  for (std::size_t m = 1; m < ends.size(); ++m) ends[m] += ends[m - 1];
  Groups groups;
  for (std::int64_t m = 0; m < members; ++m) {
    const std::int64_t first = ends[static_cast<std::size_t>(m)];
    const std::int64_t rows = ends[static_cast<std::size_t>(m) + 1] - first;
    const std::int64_t parts = (rows + most_rows - 1) / most_rows;
    for (std::int64_t p = 0; p < parts; ++p) {
      const std::int64_t from = rows * p / parts, to = rows * (p + 1) / parts;
      groups.blocks.push_back({first + from, to - from, m});
    }
  }
  groups.lanes.resize(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    groups.lanes[static_cast<std::size_t>(ends[static_cast<std::size_t>(member[i])]++)] = i;
  }
  return groups;
}

void check_rows(const char* op, const Network& network, const StepRows& rows) {
  for (std::int64_t i = 0; i < rows.count; ++i) {
    MBPO_CHECK(rows.member[i] >= 0 && rows.member[i] < network.members(), op,
               text("members in [0, ", network.members(), ")"), rows.member[i]);
    MBPO_CHECK(rows.action[i] >= 0 && rows.action[i] < network.input().actions, op,
               text("actions in [0, ", network.input().actions, ")"), rows.action[i]);
  }
}

void evaluate(const Network& network, ThreadPool& pool, const StepRows& rows, float* out) {
  check_rows("rollout", network, rows);
  std::int64_t size = 0;
  for (std::size_t which = 0; which < network.outputs().size(); ++which)
    size += network.output_shape(which).size();
  Runner(network, pool, rows.count).run(rows, [&](const Forward& forward, std::int64_t lane, std::int64_t i) {
    float* to = out + lane * size;
    for (std::size_t which = 0; which < network.outputs().size(); ++which) {
      const Register& own = forward.output_register(which);
      for (std::int64_t y = 0; y < own.shape.height; ++y) {
        for (std::int64_t x = 0; x < own.shape.width; ++x) {
          to = std::copy_n(forward.output(which, i) + y * own.line() + x * own.step, own.shape.channels, to);
        }
      }
    }
  });
}

}  // namespace mbpo_fast
