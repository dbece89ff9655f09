// Rows times a packed weight, in tiles that stay in the second-level cache.
#pragma once

#include "packed.h"
#include "rows.h"
#include "team.h"

namespace headway {

constexpr int64_t kStepsAtOnce = 1024;        // 128 KiB of a panel: read from memory once, then from cache by all rows
constexpr int64_t kRowBytesAtOnce = 512 << 10; // rows that meet one panel after another, half of a 1 MiB cache
constexpr int64_t kMaxRowsAtOnce = 140;

// Rows of one block use a panel once, so what to fetch is further along the same stream: 8 KiB, or 16 where more rows
// leave more time between two lines. Measured on Zen 5, where twice or half as much costs up to a tenth.
inline int64_t bytes_ahead(int64_t num_rows) { return num_rows <= 4 ? 8 << 10 : 16 << 10; }

// Lets one thread keep `rows` rows busy with a slice of a panel while it fetches the bytes that follow the slice.
template <class Op>
void multiply_slice(const char* rows, int64_t row_bytes, int64_t num_rows, const char* panel, int64_t steps,
                    typename Op::Sum* sums, bool add) {
  const int64_t num_blocks = (num_rows + kMaxRows - 1) / kMaxRows;
  const int64_t lines = (16 + num_blocks - 1) / num_blocks;  // per eight steps and block: sixteen in all
  const char* ahead = panel + (num_blocks == 1 ? bytes_ahead(num_rows) : steps * kStepBytes);
  for (int64_t b = 0; b < num_blocks; ++b) {
    const int64_t begin = num_rows * b / num_blocks, end = num_rows * (b + 1) / num_blocks;
    const bool fetch = b * lines < 16;
    multiply<Op>(int(end - begin), {rows + begin * row_bytes, row_bytes, panel, steps, sums + begin * kPanel, add,
                                    ahead + b * lines * (steps / 8) * 64, fetch ? lines : 0});
  }
}

// Multiply rows by panels `tasks.begin + s * apart` .. for each of `Streams` streams s, and hand every finished tile to
// `finish(first_row, num_rows, task, sums)` with sums [Streams][rows, 32]. Two streams let gate and up meet in cache.
template <class Op, int Streams, class Finish>
void product(const Rows& x, const PackedWeight& w, Range tasks, int64_t apart, Finish&& finish) {
  using Sum = typename Op::Sum;
  alignas(64) thread_local Sum sums[Streams][kMaxRowsAtOnce * kPanel];
  const int64_t fitting = kRowBytesAtOnce / x.row_bytes / kMaxRows * kMaxRows;
  const int64_t at_once = std::clamp<int64_t>(fitting, kMaxRows, kMaxRowsAtOnce);
  for (int64_t first = 0; first < x.count; first += at_once) {
    const int64_t num_rows = std::min(at_once, x.count - first);
    const char* rows = x.data + first * x.row_bytes;
    for (int64_t task = tasks.begin; task < tasks.end; ++task) {
      for (int s = 0; s < Streams; ++s) {
        const char* panel = w.panel(task + s * apart);
        for (int64_t k = 0; k < w.steps; k += kStepsAtOnce) {
          multiply_slice<Op>(rows + k * 4, x.row_bytes, num_rows, panel + k * kStepBytes,
                             std::min(kStepsAtOnce, w.steps - k), sums[s], k > 0);
        }
      }
      finish(first, num_rows, task, sums);
    }
  }
}

}  // namespace headway
