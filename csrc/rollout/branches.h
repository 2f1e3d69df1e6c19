// The frames of the branches under way.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "rollout/network.h"

namespace mbpo_fast {

// Steps that a row's frames have room for before they move back to the start of their window.
inline constexpr std::int64_t kWindowSteps = 4;

// The rows that are under way; lane i of a step is branch branches[i].
class Branches {
 public:
  Branches(const std::uint8_t* start, std::int64_t count, const NetworkInput& input, std::int64_t horizon)
      : frame_(input.height * input.width),
        context_(input.context),
        window_(input.context + std::min(horizon, kWindowSteps)),
        frames_(std::make_unique_for_overwrite<std::uint8_t[]>(
            static_cast<std::size_t>(count * window_ * frame_))),
        branches_(static_cast<std::size_t>(count)) {
    for (std::int64_t b = 0; b < count; ++b) {
      branches_[static_cast<std::size_t>(b)] = b;
      copy(start + b * context_ * frame_, context_, at(b, 0));
    }
  }

  std::int64_t count() const { return static_cast<std::int64_t>(branches_.size()); }
  const std::vector<std::int64_t>& branches() const { return branches_; }

  // The newest `context` frames of each lane.
  std::vector<const std::uint8_t*> newest(std::int64_t context) const {
    std::vector<const std::uint8_t*> frames;
    for (const std::int64_t b : branches_) frames.push_back(at(b, first_ + context_ - context));
    return frames;
  }

  // Lanes that are not kept leave.
  void keep(const std::vector<std::uint8_t>& kept) {
    std::size_t left = 0;
    for (std::size_t i = 0; i < branches_.size(); ++i) {
      if (kept[i]) branches_[left++] = branches_[i];
    }
    branches_.resize(left);
  }

  // Each lane's new frame, [count, h, w]; ended lanes leave.
  void advance(const std::uint8_t* frame, const std::vector<std::uint8_t>& terminated) {
    std::size_t alive = 0;
    const bool full = first_ + context_ == window_;
    for (std::size_t i = 0; i < branches_.size(); ++i) {
      if (terminated[i]) continue;
      const std::int64_t b = branches_[i];
      if (full) std::memmove(at(b, 0), at(b, first_), static_cast<std::size_t>(context_ * frame_));
      copy(frame + static_cast<std::int64_t>(i) * frame_, 1, at(b, (full ? 0 : first_) + context_));
      branches_[alive++] = b;
    }
    branches_.resize(alive);
    first_ = full ? 1 : first_ + 1;
  }

 private:
  std::uint8_t* at(std::int64_t branch, std::int64_t frame) const {
    return frames_.get() + (branch * window_ + frame) * frame_;
  }
  void copy(const std::uint8_t* from, std::int64_t frames, std::uint8_t* to) const {
    std::memcpy(to, from, static_cast<std::size_t>(frames * frame_));
  }

  std::int64_t frame_, context_, window_;
  std::int64_t first_ = 0;                  // of the context in its window
  std::unique_ptr<std::uint8_t[]> frames_;  // [count, window, h, w]
  std::vector<std::int64_t> branches_;
};

}  // namespace mbpo_fast
