// The threads that share one piece of work, and how it is cut.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace headway {

struct Range {
  int64_t begin, end;
};

struct Team {
  int rank, size;

  // This thread's contiguous share of `n` items.
  Range share(int64_t n) const { return {n * rank / size, n * (rank + 1) / size}; }
};

// All threads of the enclosing parallel region meet here.
inline void barrier() {
#pragma omp barrier
}

// Run `work(team)` on `num_threads` threads.
template <class Work>
void in_parallel(int num_threads, Work&& work) {
  if (num_threads <= 1) return work(Team{0, 1});
#pragma omp parallel num_threads(num_threads)
  work(Team{omp_get_thread_num(), omp_get_num_threads()});
}

// Waking threads costs about a microsecond: only work of some tens of thousands of operations is worth it.
inline int threads_for(int64_t operations, int num_threads) {
  return static_cast<int>(std::clamp<int64_t>(operations / 20000, 1, num_threads));
}

}  // namespace headway
