// Threads.

#pragma once

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

  // Calls work(0), ..., work(pieces - 1), each once.
  template <class Work> void share(int pieces, Work work) {
    std::atomic<int> next{0};
    std::atomic<bool> failed{false};
    auto run = [&]() noexcept {
      try {
        for (int piece; (piece = next++) < pieces;) work(piece);
      } catch (const std::bad_alloc&) {
        failed = true;
      }
    };
    if (pieces > 1) begin([](void* run_) { (*static_cast<decltype(run)*>(run_))(); }, &run);
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
