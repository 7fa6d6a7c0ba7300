// Threads.

#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

namespace {

// Threads that share work, of which the caller's own is one; fewer than wanted where no more are to be had. To begin
// one takes longer than many a layer, so they stay, and look out for what they wait for a little before they sleep.
class Team {
 public:
  explicit Team(int threads) {
    try {
      for (int i = 1; i < threads; i++) others.emplace_back([this] { stand_by(); });
    } catch (const std::exception&) {
    }
  }

  ~Team() {
    begin(nullptr, nullptr);
    for (auto& other : others) other.join();
  }

  int size() const { return 1 + int(others.size()); }

  // Calls work(who, from, n) for parts that are together 0 to `all`, each of `most` or, towards the end, fewer, so that
  // no thread waits long for another; all but the last are multiples of `grain`, as `most` is. Who: threads are counted from 0.
  template <class Work> void share(int all, int grain, int most, Work work) {
    std::atomic<int> next{0}, come{0};
    std::atomic<bool> failed{false};
    auto run = [&]() noexcept {
      const int who = come++;
      try {
        for (int from = next, n; from < all;) {
          const int fair = size() > 1 ? ((all - from) / (2 * size()) + grain - 1) / grain * grain : all;
          n = std::min(all - from, std::min(most, std::max(grain, fair)));
          if (!next.compare_exchange_weak(from, from + n)) continue;
          work(who, from, n);
          from = next;
        }
      } catch (const std::bad_alloc&) {
        failed = true;
      }
    };
    if (all > grain) begin([](void* run_) { (*static_cast<decltype(run)*>(run_))(); }, &run);
    run();
    await(ended, [&] { return !busy; });
    if (failed) throw std::bad_alloc();
  }

 private:
  typedef void (*Call)(void*);
  static constexpr int LOOKS = 100;
  std::vector<std::thread> others;
  std::mutex mutex;
  std::condition_variable begun, ended;
  Call call = nullptr;
  void* what = nullptr;
  std::atomic<unsigned> turn{0};
  std::atomic<int> busy{0};

  void begin(Call call_, void* what_) {
    call = call_, what = what_, busy = int(others.size());
    {
      const std::lock_guard<std::mutex> lock(mutex);
      turn++;
    }
    begun.notify_all();
  }

  void stand_by() {
    for (unsigned seen = 0;; seen++) {
      await(begun, [&] { return turn != seen; });
      if (!call) return;
      call(what);
      if (--busy) continue;
      const std::lock_guard<std::mutex> lock(mutex);
      ended.notify_one();
    }
  }

  template <class Come> void await(std::condition_variable& told, Come come) {
    for (int look = 0; look < LOOKS; look++) {
      if (come()) return;
      std::this_thread::yield();
    }
    std::unique_lock<std::mutex> lock(mutex);
    told.wait(lock, come);
  }
};

}  // namespace
