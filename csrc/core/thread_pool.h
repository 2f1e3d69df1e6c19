// A few threads that wait for work: what is done a thousand times a second should not start threads each
// time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace mbpo_fast {

// Safe to share: calls from several threads queue up, one job at a time.
class ThreadPool {
 public:
  // `threads` counts the caller: 1 starts none. Throws std::invalid_argument below 1.
  explicit ThreadPool(std::int64_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::int64_t threads() const { return static_cast<std::int64_t>(helpers_.size()) + 1; }

  // body(item, worker) for every item in [0, count), handed out in order; worker in [0, threads()) names the
  // thread, for scratch memory of its own. Returns when all are done. The first exception stops the handing
  // out and is thrown here.
  void run(std::int64_t count, const std::function<void(std::int64_t item, std::int64_t worker)>& body);

 private:
  void help(std::int64_t worker);
  void work(std::int64_t worker);
  bool wait_for_job(std::int64_t seen);

  std::mutex callers_;  // one job at a time
  std::mutex mutex_;    // guards what follows, but for the atomics
  std::condition_variable wake_, finished_;
  const std::function<void(std::int64_t, std::int64_t)>* body_ = nullptr;
  std::int64_t count_ = 0;
  std::int64_t busy_ = 0;  // helpers that have not finished the job
  bool closing_ = false;
  std::exception_ptr error_;
  std::atomic<std::int64_t> job_{0};   // the number of jobs begun
  std::atomic<std::int64_t> next_{0};  // the next item to hand out
  std::vector<std::thread> helpers_;
};

}  // namespace mbpo_fast
