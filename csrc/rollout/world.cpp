#include "rollout/world.h"

#include <cmath>

#include "core/check.h"
#include "rollout/kernels.h"
#include "rollout/layer_rules.h"

namespace mbpo_fast {

namespace {

constexpr const char* kOp = "rollout";

}  // namespace

std::int64_t cell_of_world(const Network& world) {
  MBPO_CHECK(world.outputs().size() == 2, kOp, "a world model with two outputs", world.outputs().size());
  const Shape& head = world.output_shape(0);
  const std::int64_t cell = world.input().height / head.height, area = cell * cell;
  const bool fits = cell >= 1 && head.height * cell == world.input().height &&
                    head.width * cell == world.input().width &&
                    (head.channels == area || head.channels == 2 * area);
  MBPO_CHECK(fits, kOp,
             text("a first output of the world model with one or two numbers a pixel of ",
                  world.input().height, "x", world.input().width),
             shape_text(head));
  const Shape logits{1, 1, kRewardClasses + 1};
  MBPO_CHECK(world.output_shape(1) == logits, kOp,
             text("a second output of the world model ", shape_text(logits)),
             shape_text(world.output_shape(1)));
  return cell;
}

void check_thresholds(const char* op, const Thresholds& thresholds) {
  MBPO_CHECK(!std::isnan(thresholds.reward) && !std::isnan(thresholds.end), op, "thresholds that are numbers",
             text(thresholds.reward, ", ", thresholds.end));
}

WorldRunner::WorldRunner(const Network& world, ThreadPool& pool, std::int64_t rows)
    : world_(world),
      cell_(cell_of_world(world)),
      runner_(world, pool, rows),
      outcomes_(static_cast<std::size_t>(rows)) {}

void WorldRunner::predict(const StepRows& rows, std::uint8_t* frame, Outcome* outcome) {
  const NetworkInput& in = world_.input();
  const std::int64_t pixels = in.height * in.width;
  runner_.run(rows, [&](const Forward& forward, std::int64_t lane, std::int64_t i) {
    const Register& head = forward.output_register(0);
    const std::uint8_t* newest = rows.context[lane] + (in.context - 1) * pixels;
    world_.kernels().change({forward.output(0, i), head.line(), head.step, in.height, in.width, cell_,
                             head.shape.channels == 2 * cell_ * cell_, newest, frame + lane * pixels});
    outcome[lane] = outcome_of(forward.output(1, i));
  });
}

void WorldRunner::step(const Thresholds& thresholds, const StepRows& rows, const StepOut& out) {
  predict(rows, out.frame, outcomes_.data());
  for (std::int64_t i = 0; i < rows.count; ++i) {
    const Outcome& outcome = outcomes_[static_cast<std::size_t>(i)];
    out.reward[i] = decide_reward(outcome, thresholds.reward);
    out.terminated[i] = outcome.end > thresholds.end;
  }
}

}  // namespace mbpo_fast
