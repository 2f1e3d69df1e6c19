// A few threads that wait for work: what is done a thousand times a second should not start threads each
// time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace mbpo_fast {

// Safe to share: calls from several threads queue up, one job at a time. In a forked child, which inherits no
// threads, the caller does everything, and what the pool allocated is leaked: nobody could wait for them.
class ThreadPool {
 public:
  // `threads` counts the caller: 1 starts none. Throws std::invalid_argument below 1, std::system_error where
  // the system has no more threads.
  explicit ThreadPool(std::int64_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::int64_t threads() const { return threads_; }

  // body(item, worker) for every item in [0, count), handed out in order; worker in [0, threads()) names the
  // thread, for scratch memory of its own. Returns when all are done. The first exception stops the handing
  // out and is thrown here.
  void run(std::int64_t count, const std::function<void(std::int64_t item, std::int64_t worker)>& body);

 private:
  class Helpers;
  bool is_forked() const;

  std::int64_t owner_;  // the process that has the helpers
  std::int64_t threads_;
  std::unique_ptr<Helpers> helpers_;
};

}  // namespace mbpo_fast
