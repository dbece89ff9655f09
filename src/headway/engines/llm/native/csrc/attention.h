// Causal attention over paged keys and values, prefill chunks and decodes alike.
#pragma once

#include <vector>

#include "pool.h"
#include "simd.h"
#include "team.h"

namespace headway {

// Which tokens belong to which sequence, and the pool blocks of each.
struct Ragged {
  const int32_t* query_starts;  // [sequences + 1]
  const int32_t* context_lens;  // [sequences], tokens of KV once this step's are written
  const int32_t* block_tables;  // [sequences, table_stride]
  int64_t num_sequences, table_stride;
};

struct AttentionShape {
  int64_t num_heads, num_kv_heads, head_dim;
  float scale;
  int64_t sliding_window;  // 0: none
  float softcap;           // 0: none
};

constexpr int64_t kMaxHeadDim = 256;
constexpr int64_t kMaxGroup = 112;  // query heads that share one KV head

// Some consecutive tokens of one sequence, for the query heads of one KV head.
struct AttentionTask {
  int32_t sequence, kv_head, first_token, num_tokens;  // tokens counted within the sequence
};

// Cut a batch into tasks, the longest first, so that threads that take the next one end together.
std::vector<AttentionTask> attention_tasks(const Ragged& batch, const AttentionShape& shape);

template <class T>
struct Attention {
  const T* q;  // [tokens, heads, head_dim], tokens q_stride apart
  int64_t q_stride;
  Pool<T> keys, values;
  T* out;  // [tokens, heads, head_dim], tokens out_stride apart
  int64_t out_stride;
  Ragged batch;
  AttentionShape shape;
};

// Run some of the tasks. A row's bits depend on its query and its context alone: key tiles start at fixed positions, and
// a key that a row may not see adds exactly nothing.
template <class T>
void attend(const Attention<T>& a, const std::vector<AttentionTask>& tasks, Range which);

}  // namespace headway
