// Threads and what they share out among themselves.

#pragma once

#include "product.h"

#include <atomic>
#include <exception>
#include <thread>

namespace {

// Threads that go the same way, each with a part of the rows of every product, and wait for each other where one needs
// what another has made.
class Team {
  std::atomic<int> waiting{0}, turn{0};

 public:
  std::atomic<int> size{0};  // 0 until all have come

  void meet() {
    const int now = turn.load(std::memory_order_relaxed);
    if (waiting.fetch_add(1, std::memory_order_acq_rel) == size.load(std::memory_order_relaxed) - 1) {
      waiting.store(0, std::memory_order_relaxed);
      turn.store(now + 1, std::memory_order_release);
      return;
    }
    for (int tries = 0; turn.load(std::memory_order_acquire) == now; tries++) pause(tries);
  }

  // Others are seldom far behind; one that has no core would never come if all of them were kept waiting on.
  static void pause(int tries) {
    constexpr int PATIENCE = 2000;
    if (tries > PATIENCE) std::this_thread::yield();
#if defined(__SSE2__)
    else __builtin_ia32_pause();
#endif
  }
};

struct Member {
  Team& team;
  int rank, size;
  void meet() const {
    if (size > 1) team.meet();
  }
  Range of(int rows) const {
    const int panels = rows / PANEL;
    return {panels * rank / size * PANEL, panels * (rank + 1) / size * PANEL};
  }
};

// Calls work(member) on as many threads at once, one of them the caller's own; on fewer where no more are to be had.
template <class Work> void together(int threads, Work work) {
  Team team;
  std::vector<std::thread> others;
  const auto run = [&](int rank) {
    for (int tries = 0; !team.size; tries++) Team::pause(tries);
    work(Member{team, rank, team.size});
  };
  try {
    others.reserve(std::max(threads - 1, 0));
    for (int rank = 1; rank < threads; rank++) others.emplace_back(run, rank);
  } catch (const std::exception&) {
  }
  team.size = int(others.size()) + 1;
  run(0);
  for (auto& other : others) other.join();
}

// Calls work(0), ..., work(pieces - 1), each once, on some threads.
template <class Work> void share(int pieces, int threads, Work work) {
  std::atomic<int> next{0};
  std::atomic<bool> failed{false};
  together(std::min(threads, pieces), [&](const Member&) {
    try {
      for (int piece; (piece = next++) < pieces;) work(piece);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
  });
  if (failed) throw std::bad_alloc();
}

}  // namespace
