// The threads that share one piece of work, and how it is cut.
#pragma once

#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

namespace headway {

struct Range {
  int64_t begin, end;
};

using Counter = std::atomic<int32_t>;

// The threads of one parallel region. They all run the same phases in the same order, but nobody waits for a *thread*,
// only for *work*: each takes grains of its own contiguous part, then of what slower threads have left. Where another
// process holds a core, a barrier would stop all threads for a time slice at every phase; here the rest go on.
class Team {
 public:
  // `counters` holds, for each phase, how much is finished and how far each thread's part is handed out.
  Team(int rank, int size, Counter* counters, int stride)
      : rank_(rank), size_(size), counters_(counters), stride_(stride) {}

  int rank() const { return rank_; }

  // Cut [0, n) into grains of at most `most`, run `work(range)` on each once, and return when all are done.
  template <class Work>
  void each(int64_t n, Work&& work, int64_t most = 1 << 30) {
    if (size_ == 1) return n > 0 ? work(Range{0, n}) : void();
    Counter &finished = counters_[0], *taken = counters_ + 1;
    counters_ += stride_;
    const auto total = static_cast<int32_t>(n), grain = grain_of(n, most);
    for (int i = 0; i < size_; ++i) {
      const int64_t owner = (rank_ + i) % size_, begin = n * owner / size_, length = n * (owner + 1) / size_ - begin;
      for (int32_t at; (at = taken[owner].fetch_add(grain, std::memory_order_relaxed)) < length;) {
        const auto count = static_cast<int32_t>(std::min<int64_t>(grain, length - at));
        work(Range{begin + at, begin + at + count});
        if (finished.fetch_add(count, std::memory_order_acq_rel) + count == total) finished.notify_all();
      }
    }
    wait(finished, total);
  }

 private:
  static constexpr int kGrainsPerThread = 4;
  static constexpr int kSpins = 2000;  // some ten microseconds: longer would burn the slice a late thread waits for

  int32_t grain_of(int64_t n, int64_t most) const {
    return static_cast<int32_t>(std::max<int64_t>(1, std::min(most, n / (size_ * kGrainsPerThread))));
  }

  static void wait(Counter& finished, int32_t total) {
    for (int i = 0; i < kSpins; ++i) {
      if (finished.load(std::memory_order_acquire) == total) return;
      _mm_pause();
    }
    for (int32_t now; (now = finished.load(std::memory_order_acquire)) != total;) finished.wait(now);
  }

  int rank_, size_;
  Counter* counters_;
  int stride_;
};

// Run `work(team)` on `num_threads` threads; it calls `team.each` at most `num_phases` times.
template <class Work>
void in_parallel(int num_threads, int64_t num_phases, Work&& work) {
  if (num_threads <= 1) return work(Team(0, 1, nullptr, 0));
  const int stride = num_threads + 1;
  std::vector<Counter> counters(num_phases * stride);
#pragma omp parallel num_threads(num_threads)
  work(Team(omp_get_thread_num(), omp_get_num_threads(), counters.data(), stride));
}

// Waking threads costs about a microsecond: only work of some tens of thousands of operations is worth it.
inline int threads_for(int64_t operations, int num_threads) {
  return static_cast<int>(std::clamp<int64_t>(operations / 20000, 1, num_threads));
}

}  // namespace headway
