// The threads that share one piece of work, and how it is cut.
#pragma once

#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace headway {

struct Range {
  int64_t begin, end;
};

// Where threads meet. OpenMP's own barrier spins for milliseconds, which on a busy machine burns the very time slice the
// late thread is waiting for; this one spins for some ten microseconds and then sleeps.
class Barrier {
 public:
  void wait(int size) {
    const int round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return round_.notify_all();
    }
    for (int i = 0; i < kSpins; ++i) {
      if (round_.load(std::memory_order_acquire) != round) return;
      _mm_pause();
    }
    round_.wait(round, std::memory_order_acquire);
  }

 private:
  static constexpr int kSpins = 2000;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> round_{0};
};

struct Team {
  int rank, size;
  Barrier* meeting;

  // This thread's contiguous share of `n` items.
  Range share(int64_t n) const { return {n * rank / size, n * (rank + 1) / size}; }

  // Wait until every thread of the team has come here.
  void meet() const {
    if (size > 1) meeting->wait(size);
  }
};

// Run `work(team)` on `num_threads` threads.
template <class Work>
void in_parallel(int num_threads, Work&& work) {
  if (num_threads <= 1) return work(Team{0, 1, nullptr});
  Barrier meeting;
#pragma omp parallel num_threads(num_threads)
  work(Team{omp_get_thread_num(), omp_get_num_threads(), &meeting});
}

// Waking threads costs about a microsecond: only work of some tens of thousands of operations is worth it.
inline int threads_for(int64_t operations, int num_threads) {
  return static_cast<int>(std::clamp<int64_t>(operations / 20000, 1, num_threads));
}

}  // namespace headway
