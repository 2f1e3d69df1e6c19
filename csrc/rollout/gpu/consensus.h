// The elites' words about a step, made into one: rollout/consensus.h for a GPU.
#pragma once

#include "rollout/gpu/rows.h"
#include "rollout/gpu/state.h"

namespace mbpo_fast::gpu {

// A block for each lane: its frame into the buffer, its outcome and the elites' disagreement.
struct Agree {
  static constexpr int kWarps = 8;
  StepState state;
  FrameSource frames;
  Opinions opinions;
  Agreement out;
  bool mean;  // of all elites; else the word of the drawn one
  std::int32_t changed_levels;

  // `shared`: for each thread the sum of its deviations and the number of its pixels.
  static std::int64_t shared_bytes(int threads) {
    return threads * std::int64_t{sizeof(double) + sizeof(int)};
  }

  MBPO_GPU void operator()(const Block& block, unsigned char* shared) const {
    const int lane = block.index();
    if (lane >= *state.lanes) return;
    auto* sums = reinterpret_cast<double*>(shared);
    auto* moved = reinterpret_cast<int*>(sums + block.threads());
    settle_pixels(block, lane, sums[block.thread()], moved[block.thread()]);
    block.sync();
    if (block.thread() != 0) return;
    double total = 0.0;
    int count = 0;
    for (int t = 0; t < block.threads(); ++t) total += sums[t], count += moved[t];
    const float pixels = count ? static_cast<float>(total / count) / 255.0f : 0.0f;
    out.doubt[lane] = pixels + deviation([&](int e) { return 1.0f - said(e, lane).none; });
    out.outcome[lane] = mean ? mean_outcome(lane) : said(state.drawn[lane], lane);
  }

 private:
  MBPO_GPU Outcome said(std::int64_t elite, int lane) const {
    return outcome_of(opinions.logits + (elite * opinions.rows + lane) * (kRewardClasses + 1));
  }

  // Around the mean, over all elites.
  template <class Value>
  MBPO_GPU float deviation(Value value) const {
    const auto count = static_cast<float>(opinions.elites);
    float sum = 0.0f, squares = 0.0f;
    for (int e = 0; e < opinions.elites; ++e) sum += value(e);
    for (int e = 0; e < opinions.elites; ++e) {
      const float apart = value(e) - sum / count;
      squares += apart * apart;
    }
    return std::sqrt(squares / count);
  }

  // This thread's pixels: the frame's, and the deviations of those that any elite changes.
  MBPO_GPU void settle_pixels(const Block& block, int lane, double& deviations, int& moved) const {
    const std::int64_t branch = state.branch[lane], drawn = state.drawn[lane], pixels = frames.bytes();
    const std::uint8_t* newest = frames.newest(branch, 1, 0);
    std::uint8_t* to = frames.destination(branch);
    deviations = 0.0, moved = 0;
    for (std::int64_t p = block.thread(); p < pixels; p += block.threads()) {
      const std::uint8_t* levels = opinions.frame + branch * pixels + p;
      const auto level = [&](std::int64_t e) -> int { return levels[e * opinions.rows * pixels]; };
      bool moves = false;
      int sum = 0;
      for (int e = 0; e < opinions.elites; ++e) {
        const int apart = level(e) - newest[p];
        moves |= apart > changed_levels || -apart > changed_levels;
        sum += level(e);
      }
      if (moves) {
        deviations += static_cast<double>(deviation([&](int e) { return static_cast<float>(level(e)); }));
        ++moved;
      }
      const float average = static_cast<float>(sum) / static_cast<float>(opinions.elites);
      to[p] = static_cast<std::uint8_t>(mean ? rintf(average) : static_cast<float>(level(drawn)));
    }
  }

  MBPO_GPU Outcome mean_outcome(int lane) const {
    Outcome sum{};
    for (int e = 0; e < opinions.elites; ++e) {
      const Outcome word = said(e, lane);
      sum.negative += word.negative, sum.none += word.none;
      sum.positive += word.positive, sum.end += word.end;
    }
    const auto count = static_cast<float>(opinions.elites);
    return {sum.negative / count, sum.none / count, sum.positive / count, sum.end / count};
  }
};

}  // namespace mbpo_fast::gpu
