#include "core/thread_pool.h"

#include <chrono>

#include "core/check.h"

namespace mbpo_fast {

namespace {

// Between the steps of a rollout a helper has nothing to do for less than this; waking a sleeper takes
// longer.
constexpr std::chrono::microseconds kSpin{20};

}  // namespace

ThreadPool::ThreadPool(std::int64_t threads) {
  MBPO_CHECK(threads >= 1 && threads <= 1024, "ThreadPool", "1 <= threads <= 1024", threads);
  helpers_.reserve(static_cast<std::size_t>(threads - 1));
  for (std::int64_t worker = 1; worker < threads; ++worker) {
    helpers_.emplace_back([this, worker] { help(worker); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    job_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void ThreadPool::run(std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& body) {
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

void ThreadPool::work(std::int64_t worker) {
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
bool ThreadPool::wait_for_job(std::int64_t seen) {
  const auto until = std::chrono::steady_clock::now() + kSpin;
  while (job_.load(std::memory_order_acquire) == seen && std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();  // whoever else wants this core goes first
  }
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [&] { return job_.load(std::memory_order_relaxed) != seen; });
  return !closing_;
}

void ThreadPool::help(std::int64_t worker) {
  for (std::int64_t seen = 0; wait_for_job(seen);) {
    ++seen;  // no job begins before every helper has finished the one before
    work(worker);
    const std::lock_guard lock(mutex_);
    if (--busy_ == 0) finished_.notify_one();
  }
}

}  // namespace mbpo_fast
