#include "rollout/world.h"

#include "core/check.h"
#include "rollout/kernels.h"

namespace mbpo_fast {

namespace {

constexpr const char* kOp = "rollout";

std::string map_text(const Shape& shape) {
  return text("[", shape.height, ",", shape.width, ",", shape.channels, "]");
}

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
             map_text(head));
  const Shape logits{1, 1, kRewardClasses + 1};
  MBPO_CHECK(world.output_shape(1) == logits, kOp,
             text("a second output of the world model ", map_text(logits)), map_text(world.output_shape(1)));
  return cell;
}

WorldRunner::WorldRunner(const Network& world, ThreadPool& pool, std::int64_t rows)
    : world_(world), cell_(cell_of_world(world)), runner_(world, pool, rows) {}

void WorldRunner::step(const Thresholds& thresholds, const StepRows& rows, const StepOut& out) {
  const NetworkInput& input = world_.input();
  const std::int64_t frame = input.height * input.width;
  runner_.run(rows, [&](const Forward& forward, std::int64_t lane, std::int64_t i) {
    const Register& head = forward.output_register(0);
    const std::uint8_t* newest = rows.context[lane] + (input.context - 1) * frame;
    world_.kernels().change({forward.output(0, i), head.line(), head.step, input.height, input.width, cell_,
                             head.shape.channels == 2 * cell_ * cell_, newest, out.frame + lane * frame});
    const float* logits = forward.output(1, i);
    out.reward[lane] = decide_reward(logits, thresholds.reward);
    out.terminated[lane] = decide_end(logits[kRewardClasses], thresholds.end);
  });
}

}  // namespace mbpo_fast
