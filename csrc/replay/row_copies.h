// The rows of a batch, copied by several threads where there are enough of them.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "core/check.h"
#include "core/thread_pool.h"

namespace mbpo_fast {

class RowCopies {
 public:
  explicit RowCopies(std::int64_t num_threads) : num_threads_(num_threads) {
    MBPO_CHECK(num_threads >= 1 && num_threads <= 64, "num_threads", "1 <= num_threads <= 64", num_threads);
  }

  RowCopies(const RowCopies&) = delete;
  RowCopies& operator=(const RowCopies&) = delete;

  // copy(row) for every row in [0, batch), in no order; returns when all are done.
  template <class Copy>
  void run(std::int64_t batch, const Copy& copy) const {
    if (num_threads_ == 1 || batch < 2 * kRowsAtATime) {
      for (std::int64_t row = 0; row < batch; ++row) copy(row);
      return;
    }
    std::call_once(started_, [this] { pool_ = std::make_unique<ThreadPool>(num_threads_); });
    pool_->run((batch + kRowsAtATime - 1) / kRowsAtATime, [&](std::int64_t item, std::int64_t) {
      const std::int64_t from = item * kRowsAtATime, to = from + kRowsAtATime;
      for (std::int64_t row = from; row < to && row < batch; ++row) copy(row);
    });
  }

 private:
  // Some 60 us of copies: a thread that sleeps needs about as long to wake.
  static constexpr std::int64_t kRowsAtATime = 16;

  std::int64_t num_threads_;
  mutable std::once_flag started_;
  mutable std::unique_ptr<ThreadPool> pool_;
};

}  // namespace mbpo_fast
