#include "attention.h"

#include <memory>
#include <type_traits>

#include "attention_pack.h"
#include "memory.h"

namespace headway {
namespace {

constexpr int64_t kTileKeys = 128;  // keys scored before the running maximum moves
constexpr int64_t kTileRows = kMaxGroup;  // query rows (tokens times heads of a group) that share one packed tile
constexpr int64_t kMaxDim = kMaxHeadDim;

alignas(64) const char kZeroRow[kMaxDim * 4] = {};

template <class T>
using OpOf = std::conditional_t<std::is_same_v<T, float>, F32, Bf16>;

// Where the keys and values of one tile lie; whole panels, with zeros for keys that are not there: memory that nobody
// wrote may hold a NaN, which no weight of zero would silence.
struct TileRows {
  const char* keys[kTileKeys];
  const char* values[kTileKeys];
  int64_t num_keys = 0, padded_keys = 0;

  template <class T>
  void find(const Attention<T>& a, const AttentionTask& task, int64_t begin, int64_t end) {
    const int64_t size = a.keys.block_size;
    const int32_t* block = a.batch.block_tables + task.sequence * a.batch.table_stride + begin / size;
    num_keys = end - begin;
    padded_keys = (num_keys + kPanel - 1) / kPanel * kPanel;
    int64_t k = 0;
    for (int64_t offset = begin % size; k < num_keys; ++block, offset = 0) {
      for (; offset < size && k < num_keys; ++offset, ++k) {
        keys[k] = reinterpret_cast<const char*>(a.keys.row(*block, task.kv_head, offset));
        values[k] = reinterpret_cast<const char*>(a.values.row(*block, task.kv_head, offset));
      }
    }
    for (; k < padded_keys; ++k) keys[k] = values[k] = kZeroRow;
  }

  // Ask for part `i` of `n` of the rows, `bytes` each.
  void fetch(int64_t i, int64_t n, int64_t bytes) const {
    for (int64_t k = num_keys * i / n; k < num_keys * (i + 1) / n; ++k) {
      for (int64_t b = 0; b < bytes; b += 64) {
        _mm_prefetch(keys[k] + b, _MM_HINT_T0);
        _mm_prefetch(values[k] + b, _MM_HINT_T0);
      }
    }
  }
};

// Everything one thread needs while it works on one task, kept from task to task.
template <class T>
struct Desk {
  static constexpr int64_t kPerWord = OpOf<T>::kPerWord;
  static constexpr int64_t kMaxQueryBytes = kMaxDim * sizeof(T) + 64;
  static constexpr int64_t kWeightBytes = kTileKeys * sizeof(T) + 64;
  alignas(64) char query[kTileRows * kMaxQueryBytes];
  alignas(64) char weights[kTileRows * kWeightBytes];              // exp(score - maximum), as T
  alignas(64) char panel[kMaxDim * kStepBytes];  // 32 packed keys, or 32 columns of packed values
  alignas(64) float scores[kTileKeys / kPanel][kTileRows * kPanel];
  alignas(64) float mixed[kMaxDim / kPanel][kTileRows * kPanel];   // weighted values so far
  float maximum[kTileRows], total[kTileRows], shrink[kTileRows];
  TileRows tiles[2];  // where the tile at hand lies, and the one that comes after it
};

template <class Op>
void multiply_rows(const char* rows, int64_t row_bytes, int64_t num_rows, const char* panel, int64_t steps, float* sums,
                   bool add) {
  const int64_t num_blocks = (num_rows + kMaxRows - 1) / kMaxRows;
  for (int64_t b = 0; b < num_blocks; ++b) {
    const int64_t begin = num_rows * b / num_blocks, end = num_rows * (b + 1) / num_blocks;
    multiply<Op>(int(end - begin),
                 {rows + begin * row_bytes, row_bytes, panel, steps, sums + begin * kPanel, add, panel, 0});
  }
}

template <class T>
class TaskRun {
  using Op = OpOf<T>;

 public:
  TaskRun(const Attention<T>& a, const AttentionTask& task, Desk<T>& desk)
      : a_(a), task_(task), desk_(desk), group_(a.shape.num_heads / a.shape.num_kv_heads),
        dim_(a.shape.head_dim), num_rows_(task.num_tokens * group_), query_bytes_(padded_row(dim_ * sizeof(T))) {
    const auto& b = a.batch;
    first_row_ = b.query_starts[task.sequence] + task.first_token;
    const int64_t num_new = b.query_starts[task.sequence + 1] - b.query_starts[task.sequence];
    first_position_ = b.context_lens[task.sequence] - num_new + task.first_token;
  }

  // Work through the task. While a tile is weighed, what comes next is fetched: the next tile, or the first one of
  // `after`, the task this thread will most likely turn to.
  void run(const AttentionTask* after) {
    gather_query();
    TileRows *now = &desk_.tiles[0], *next = &desk_.tiles[1];
    find(*now, first_tile());
    for (int64_t tile = first_tile(); tile < end(); tile += kTileKeys) {
      next->num_keys = 0;
      if (tile + kTileKeys < end()) {
        find(*next, tile + kTileKeys);
      } else if (after) {
        const TaskRun other(a_, *after, desk_);
        other.find(*next, other.first_tile());
      }
      score(*now);
      for (int64_t r = 0; r < num_rows_; ++r) {
        weigh(r, tile, now->padded_keys / 16);
        next->fetch(r, num_rows_, dim_ * sizeof(T));
      }
      mix(*now);
      std::swap(now, next);
    }
    write();
  }

 private:
  int64_t end() const { return first_position_ + task_.num_tokens; }

  // Tiles start at multiples of their size, whatever the window: a row's sums must not depend on its neighbours.
  int64_t first_tile() const {
    const int64_t window = a_.shape.sliding_window;
    const int64_t begin = window > 0 ? std::max<int64_t>(0, first_position_ + 1 - window) : 0;
    return begin / kTileKeys * kTileKeys;
  }

  void find(TileRows& rows, int64_t tile) const { rows.find(a_, task_, tile, std::min(tile + kTileKeys, end())); }

  void gather_query() {
    for (int64_t r = 0; r < num_rows_; ++r) {
      std::memcpy(desk_.query + r * query_bytes_, query_row(r), dim_ * sizeof(T));
      desk_.maximum[r] = -1e30f;  // not minus infinity: the difference of two must stay a number
      desk_.total[r] = 0.0f;
    }
    for (int64_t p = 0; p < panels(dim_); ++p) std::memset(desk_.mixed[p], 0, num_rows_ * kPanel * sizeof(float));
  }

  const T* query_row(int64_t r) const {
    return a_.q + (first_row_ + r / group_) * a_.q_stride + (task_.kv_head * group_ + r % group_) * dim_;
  }

  void score(const TileRows& tile) {
    const int64_t words = dim_ / Op::kPerWord;
    for (int64_t p = 0; p < tile.padded_keys / kPanel; ++p) {
      pack_keys(tile.keys + p * kPanel, words, desk_.panel);
      multiply_rows<Op>(desk_.query, query_bytes_, num_rows_, desk_.panel, words, desk_.scores[p], false);
    }
  }

  // Turn a row's scores into weights and move its running maximum.
  void weigh(int64_t r, int64_t tile, int64_t num_vectors) {
    const int64_t position = first_position_ + r / group_, window = a_.shape.sliding_window;
    const int64_t end = position + 1 - tile;                              // keys of this tile the row may see:
    const int64_t begin = window > 0 ? position + 1 - window - tile : 0;  // [begin, end)
    f32x16 s[kTileKeys / 16];
    f32x16 peak = set1(desk_.maximum[r]);
    for (int64_t i = 0; i < num_vectors; ++i) {
      const __mmask16 seen = first_lanes(end - i * 16) & ~first_lanes(begin - i * 16);
      s[i] = _mm512_mask_mov_ps(set1(-__builtin_inff()), seen, capped(r, i));
      peak = _mm512_max_ps(peak, s[i]);
    }
    const float maximum = _mm512_reduce_max_ps(peak);
    f32x16 sum = _mm512_setzero_ps();
    T* weights = reinterpret_cast<T*>(desk_.weights + r * Desk<T>::kWeightBytes);
    for (int64_t i = 0; i < num_vectors; ++i) {
      const f32x16 weight = exp(_mm512_sub_ps(s[i], set1(maximum)));
      sum = _mm512_add_ps(sum, weight);
      store(weights + i * 16, weight);
    }
    desk_.shrink[r] = _mm512_cvtss_f32(exp(set1(desk_.maximum[r] - maximum)));
    desk_.total[r] = desk_.total[r] * desk_.shrink[r] + _mm512_reduce_add_ps(sum);
    desk_.maximum[r] = maximum;
  }

  f32x16 capped(int64_t r, int64_t vector) const {
    const f32x16 raw = _mm512_load_ps(desk_.scores[vector / 2] + r * kPanel + vector % 2 * 16);
    if (a_.shape.softcap <= 0.0f) return _mm512_mul_ps(raw, set1(a_.shape.scale));
    const f32x16 cap = set1(a_.shape.softcap);
    return _mm512_mul_ps(cap, tanh(_mm512_div_ps(_mm512_mul_ps(raw, set1(a_.shape.scale)), cap)));
  }

  void mix(const TileRows& tile) {
    for (int64_t p = 0; p < panels(dim_); ++p) {
      pack_values(tile.values, tile.padded_keys, p * kPanel, dim_, (const T*)nullptr, desk_.panel);
      for (int64_t r = 0; r < num_rows_; ++r) {
        if (desk_.shrink[r] == 1.0f) continue;
        float* row = desk_.mixed[p] + r * kPanel;
        _mm512_store_ps(row, _mm512_mul_ps(_mm512_load_ps(row), set1(desk_.shrink[r])));
        _mm512_store_ps(row + 16, _mm512_mul_ps(_mm512_load_ps(row + 16), set1(desk_.shrink[r])));
      }
      multiply_rows<Op>(desk_.weights, Desk<T>::kWeightBytes, num_rows_, desk_.panel, tile.padded_keys / Op::kPerWord,
                        desk_.mixed[p], true);
    }
  }

  void write() {
    for (int64_t r = 0; r < num_rows_; ++r) {
      T* out = a_.out + (first_row_ + r / group_) * a_.out_stride + (task_.kv_head * group_ + r % group_) * dim_;
      const f32x16 inverse = set1(1.0f / desk_.total[r]);
      for (int64_t d = 0; d < dim_; d += 16) {
        store(out + d, _mm512_mul_ps(_mm512_load_ps(desk_.mixed[d / kPanel] + r * kPanel + d % kPanel), inverse));
      }
    }
  }

  static int64_t panels(int64_t n) { return (n + kPanel - 1) / kPanel; }

  const Attention<T>& a_;
  const AttentionTask& task_;
  Desk<T>& desk_;
  int64_t group_, dim_, num_rows_, query_bytes_, first_row_, first_position_;
};

}  // namespace

std::vector<AttentionTask> attention_tasks(const Ragged& batch, const AttentionShape& shape) {
  const int64_t group = shape.num_heads / shape.num_kv_heads;
  const int64_t tokens_at_once = std::max<int64_t>(1, kTileRows / group);
  std::vector<std::pair<int64_t, AttentionTask>> costed;
  for (int32_t s = 0; s < batch.num_sequences; ++s) {
    const int32_t num_new = batch.query_starts[s + 1] - batch.query_starts[s];
    for (int32_t first = 0; first < num_new; first += int32_t(tokens_at_once)) {
      const auto num_tokens = int32_t(std::min<int64_t>(tokens_at_once, num_new - first));
      const int64_t num_keys = batch.context_lens[s] - num_new + first + num_tokens;
      for (int32_t h = 0; h < shape.num_kv_heads; ++h) {
        costed.push_back({num_keys * (num_tokens * group + 8), {s, h, first, num_tokens}});
      }
    }
  }
  std::stable_sort(costed.begin(), costed.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<AttentionTask> tasks;
  for (const auto& [cost, task] : costed) tasks.push_back(task);
  return tasks;
}

template <class T>
void attend(const Attention<T>& a, const std::vector<AttentionTask>& tasks, Range which) {
  thread_local const auto desk = std::make_unique<Desk<T>>();
  for (int64_t i = which.begin; i < which.end; ++i) {
    TaskRun<T>(a, tasks[i], *desk).run(i + 1 < int64_t(tasks.size()) ? &tasks[i + 1] : nullptr);
  }
}

template void attend<float>(const Attention<float>&, const std::vector<AttentionTask>&, Range);
template void attend<bf16>(const Attention<bf16>&, const std::vector<AttentionTask>&, Range);

}  // namespace headway
