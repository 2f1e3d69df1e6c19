#include "rollout/consensus.h"

#include <cmath>

namespace mbpo_fast {

namespace {

// Rows that all elites are asked about at a time: their frames wait in memory.
constexpr std::int64_t kRows = 256;

using Frames = std::vector<const std::uint8_t*>;

// Around the mean, over all members.
template <class Value>
float deviation(std::int64_t members, Value value) {
  float sum = 0.0f, squares = 0.0f;
  for (std::int64_t e = 0; e < members; ++e) sum += value(e);
  const float mean = sum / static_cast<float>(members);
  for (std::int64_t e = 0; e < members; ++e) squares += (value(e) - mean) * (value(e) - mean);
  return std::sqrt(squares / static_cast<float>(members));
}

// Of the pixels that any member changes, the mean deviation in units of 255 levels.
float pixel_deviation(const Frames& frames, const std::uint8_t* newest, std::int64_t pixels, int levels) {
  const auto members = static_cast<std::int64_t>(frames.size());
  double total = 0.0;
  std::int64_t moved = 0;
  for (std::int64_t p = 0; p < pixels; ++p) {
    bool moves = false;
    for (const std::uint8_t* frame : frames) moves |= std::abs(frame[p] - newest[p]) > levels;
    if (!moves) continue;
    ++moved;
    const auto level = [&](std::int64_t e) {
      return static_cast<float>(frames[static_cast<std::size_t>(e)][p]);
    };
    total += static_cast<double>(deviation(members, level));
  }
  return moved ? static_cast<float>(total / static_cast<double>(moved)) / 255.0f : 0.0f;
}

void mean_frame(const Frames& frames, std::int64_t pixels, std::uint8_t* out) {
  for (std::int64_t p = 0; p < pixels; ++p) {
    int sum = 0;
    for (const std::uint8_t* frame : frames) sum += frame[p];
    const float mean = static_cast<float>(sum) / static_cast<float>(frames.size());
    out[p] = static_cast<std::uint8_t>(std::nearbyint(mean));
  }
}

}  // namespace

Consensus::Consensus(WorldRunner& model, ThreadPool& pool, std::span<const std::int64_t> elites)
    : model_(model),
      pool_(pool),
      elites_(elites.begin(), elites.end()),
      pixels_(model.input().height * model.input().width) {}

void Consensus::step(const ConsensusSpec& spec, const StepRows& rows, const StepOut& out, float* doubt) {
  for (std::int64_t first = 0; first < rows.count; first += kRows) {
    const StepRows part{rows.context + first, rows.action + first, rows.member + first,
                        std::min(kRows, rows.count - first)};
    const StepOut to{out.frame + first * pixels_, out.reward + first, out.terminated + first};
    ask(part);
    pool_.run(part.count, [&](std::int64_t i, std::int64_t) { combine(spec, part, i, to, doubt + first); });
  }
}

void Consensus::ask(const StepRows& rows) {
  rows_ = rows.count;
  const std::size_t asked = elites_.size() * static_cast<std::size_t>(rows_);
  frames_.resize(asked * static_cast<std::size_t>(pixels_));
  outcomes_.resize(asked);
  for (std::size_t e = 0; e < elites_.size(); ++e) {
    const std::vector<std::int64_t> member(static_cast<std::size_t>(rows_), elites_[e]);
    const std::int64_t at = static_cast<std::int64_t>(e) * rows_;
    model_.predict({rows.context, rows.action, member.data(), rows_}, frames_.data() + at * pixels_,
                   outcomes_.data() + at);
  }
}

void Consensus::combine(const ConsensusSpec& spec, const StepRows& rows, std::int64_t i, const StepOut& out,
                        float* doubt) const {
  const auto members = static_cast<std::int64_t>(elites_.size());
  const auto said = [&](std::int64_t e) { return outcomes_[static_cast<std::size_t>(e * rows_ + i)]; };
  Frames frames;
  for (std::int64_t e = 0; e < members; ++e) frames.push_back(frames_.data() + (e * rows_ + i) * pixels_);
  const std::uint8_t* newest = rows.context[i] + (model_.input().context - 1) * pixels_;
  doubt[i] = pixel_deviation(frames, newest, pixels_, spec.changed_levels) +
             deviation(members, [&](std::int64_t e) { return 1.0f - said(e).none; });
  Outcome outcome{};
  if (spec.mean) {
    for (std::int64_t e = 0; e < members; ++e) {
      const Outcome word = said(e);
      outcome.negative += word.negative, outcome.none += word.none;
      outcome.positive += word.positive, outcome.end += word.end;
    }
    const auto count = static_cast<float>(members);
    outcome = {outcome.negative / count, outcome.none / count, outcome.positive / count, outcome.end / count};
    mean_frame(frames, pixels_, out.frame + i * pixels_);
  } else {
    const auto place = std::find(elites_.begin(), elites_.end(), rows.member[i]) - elites_.begin();
    outcome = said(place);
    std::copy_n(frames[static_cast<std::size_t>(place)], pixels_, out.frame + i * pixels_);
  }
  out.reward[i] = decide_reward(outcome, spec.thresholds.reward);
  out.terminated[i] = outcome.end > spec.thresholds.end;
}

}  // namespace mbpo_fast
