#include "core/thread_pool.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "core/check.h"

namespace mbpo_fast {

namespace {

// Between the steps of a rollout a helper has nothing to do for less than this; waking a sleeper takes
// longer.
constexpr std::chrono::microseconds kSpin{20};

using Body = std::function<void(std::int64_t, std::int64_t)>;

}  // namespace

class ThreadPool::Helpers {
 public:
  explicit Helpers(std::int64_t count) {
    helpers_.reserve(static_cast<std::size_t>(count));
    try {
      for (std::int64_t worker = 1; worker <= count; ++worker) {
        helpers_.emplace_back([this, worker] { help(worker); });
      }
    } catch (...) {
      close();
      throw;
    }
  }

  ~Helpers() { close(); }
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;

  void run(std::int64_t count, const Body& body) {
    const std::lock_guard one_job(callers_);
    {
      const std::lock_guard lock(mutex_);
      body_ = &body;
      count_ = count;
      error_ = nullptr;
      busy_ = static_cast<std::int64_t>(helpers_.size());
      next_.store(0, std::memory_order_relaxed);
      job_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    work(0);
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [this] { return busy_ == 0; });
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void close() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
      job_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (std::thread& helper : helpers_) helper.join();
  }

  void work(std::int64_t worker) {
    for (std::int64_t item; (item = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) {
      try {
        (*body_)(item, worker);
      } catch (...) {
        next_.store(count_, std::memory_order_relaxed);
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
      }
    }
  }

  // Looks for the next job for a moment, then sleeps until there is one; false when the pool closes.
  bool wait_for_job(std::int64_t seen) {
    const auto until = std::chrono::steady_clock::now() + kSpin;
    while (job_.load(std::memory_order_acquire) == seen && std::chrono::steady_clock::now() < until) {
      std::this_thread::yield();  // whoever else wants this core goes first
    }
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return job_.load(std::memory_order_relaxed) != seen; });
    return !closing_;
  }

  void help(std::int64_t worker) {
    for (std::int64_t seen = 0; wait_for_job(seen);) {
      ++seen;  // no job begins before every helper has finished the one before
      work(worker);
      const std::lock_guard lock(mutex_);
      if (--busy_ == 0) finished_.notify_one();
    }
  }

  std::mutex callers_;  // one job at a time
  std::mutex mutex_;    // guards what follows, but for the atomics
  std::condition_variable wake_, finished_;
  const Body* body_ = nullptr;
  std::int64_t count_ = 0;
  std::int64_t busy_ = 0;  // helpers that have not finished the job
  bool closing_ = false;
  std::exception_ptr error_;
  std::atomic<std::int64_t> job_{0};   // the number of jobs begun
  std::atomic<std::int64_t> next_{0};  // the next item to hand out
  std::vector<std::thread> helpers_;
};

ThreadPool::ThreadPool(std::int64_t threads) : owner_(::getpid()), threads_(threads) {
  MBPO_CHECK(threads >= 1 && threads <= 1024, "ThreadPool", "1 <= threads <= 1024", threads);
  if (threads > 1) helpers_ = std::make_unique<Helpers>(threads - 1);
}

ThreadPool::~ThreadPool() {
  if (is_forked()) (void)helpers_.release();
}

bool ThreadPool::is_forked() const {
  return ::getpid() != owner_;
}

void ThreadPool::run(std::int64_t count, const Body& body) {
  if (helpers_ && !is_forked()) return helpers_->run(count, body);
  for (std::int64_t item = 0; item < count; ++item) body(item, 0);
}

}  // namespace mbpo_fast
