// Threads.

#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <new>
#include <thread>
#include <vector>

namespace {

// Calls work(0), ..., work(pieces - 1), each once, on some threads, of which the caller's own is one; on fewer where no
// more are to be had.
template <class Work> void share(int pieces, int threads, Work work) {
  std::atomic<int> next{0};
  std::atomic<bool> failed{false};
  const auto run = [&] {
    try {
      for (int piece; (piece = next++) < pieces;) work(piece);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
  };
  std::vector<std::thread> others;
  try {
    for (int i = 1; i < std::min(threads, pieces); i++) others.emplace_back(run);
  } catch (const std::exception&) {
  }
  run();
  for (auto& other : others) other.join();
  if (failed) throw std::bad_alloc();
}

}  // namespace
