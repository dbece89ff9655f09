// Tensors as the kernels see them: checked, and stripped to pointers and strides.
#pragma once

#include <ATen/ATen.h>

#include "attention.h"

namespace headway {

// Call `work` with a value of the tensor's element type.
template <class Work>
void with_type(const at::Tensor& t, const char* where, Work&& work) {
  if (t.scalar_type() == at::kFloat) return work(float{});
  TORCH_CHECK(t.scalar_type() == at::kBFloat16, where, " - tensors must be float32 or bfloat16 - got ", t.scalar_type(),
              " - convert them first");
  work(bf16{});
}

template <class T>
T* data(const at::Tensor& t) {
  return static_cast<T*>(t.data_ptr());
}

template <class T>
void check_type(const at::Tensor& t, const char* where) {
  constexpr auto wanted = sizeof(T) == 4 ? at::kFloat : at::kBFloat16;
  TORCH_CHECK(t.scalar_type() == wanted, where, " - all tensors must share one type - got ", wanted, " and ",
              t.scalar_type(), " - keep queries, keys, values and pools alike");
}

// First element of [tokens, heads, head_dim] with whole tokens in one piece; tokens may be any stride apart.
template <class T>
T* heads(const at::Tensor& t, const char* where) {
  check_type<T>(t, where);
  TORCH_CHECK(t.dim() == 3 && t.stride(2) == 1 && t.stride(1) == t.size(2), where,
              " - heads must be [tokens, heads, head_dim] with the last two dimensions contiguous - got sizes ",
              t.sizes(), " strides ", t.strides(), " - call .contiguous()");
  return data<T>(t);
}

template <class T>
const T* indices(const at::Tensor& t, const char* where) {
  constexpr auto wanted = sizeof(T) == 4 ? at::kInt : at::kLong;
  TORCH_CHECK(t.scalar_type() == wanted && t.is_contiguous(), where, " - indices must be contiguous ", wanted, " - got ",
              t.scalar_type(), " - build them with RaggedBatch.build");
  return data<const T>(t);
}

template <class T>
Pool<T> pool(const at::Tensor& t, int64_t kv_heads, int64_t head_dim) {
  check_type<T>(t, "pool");
  TORCH_CHECK(t.dim() == 4 && t.size(1) == kv_heads && t.size(3) == head_dim && t.stride(3) == 1,
              "pool - it must be [blocks, ", kv_heads, ", block_size, ", head_dim, "] with contiguous rows - got ",
              t.sizes(), " - allocate it for this model");
  return {data<T>(t), t.stride(0), t.stride(1), t.stride(2), t.size(2)};
}

inline void check_shape(const AttentionShape& s) {
  TORCH_CHECK(s.num_heads % s.num_kv_heads == 0 && s.num_heads / s.num_kv_heads <= kMaxGroup,
              "attention - query heads must be a multiple of KV heads, at most ", kMaxGroup, " times as many - got ",
              s.num_heads, " and ", s.num_kv_heads, " - use the torch kernels for this model");
  TORCH_CHECK(s.head_dim % 16 == 0 && s.head_dim >= 16 && s.head_dim <= kMaxHeadDim,
              "attention - head_dim must be a multiple of 16 in 16..256 - got ", s.head_dim,
              " - use the torch kernels for this model");
}

inline Ragged ragged(const at::Tensor& query_starts, const at::Tensor& context_lens, const at::Tensor& block_tables,
                     int64_t num_tokens) {
  const int64_t sequences = context_lens.numel();
  const int32_t* starts = indices<int32_t>(query_starts, "batch");
  TORCH_CHECK(query_starts.numel() == sequences + 1 && block_tables.dim() == 2 && block_tables.size(0) == sequences &&
                  starts[sequences] == num_tokens,
              "batch - query_starts must have one more entry than context_lens and end at the number of tokens - got ",
              query_starts.numel(), " entries for ", sequences, " sequences and ", num_tokens,
              " tokens - build it with RaggedBatch.build");
  return {starts, indices<int32_t>(context_lens, "batch"), indices<int32_t>(block_tables, "batch"), sequences,
          block_tables.size(1)};
}

// A wrong block would read or write foreign memory, so every place is looked at before anything runs.
inline void check_places(const Ragged& batch, const at::Tensor& pool) {
  const int64_t num_blocks = pool.size(0), block_size = pool.size(2);
  for (int64_t s = 0; s < batch.num_sequences; ++s) {
    const int64_t num_new = batch.query_starts[s + 1] - batch.query_starts[s], context = batch.context_lens[s];
    const int64_t used = (context + block_size - 1) / block_size;
    TORCH_CHECK(num_new >= 0 && num_new <= context && used <= batch.table_stride,
                "batch - a sequence must have its new tokens and all its blocks inside the pool - got ", num_new,
                " new of ", context, " tokens in ", batch.table_stride, " blocks - build it with RaggedBatch.build");
    const int32_t* table = batch.block_tables + s * batch.table_stride;
    const bool inside = std::all_of(table, table + used, [&](int32_t b) { return b >= 0 && b < num_blocks; });
    TORCH_CHECK(inside, "batch - blocks must lie inside the pool of ", num_blocks, " - got one outside for sequence ", s,
                " - pass the block tables of this pool");
  }
}

inline void check_slots(const int64_t* slots, int64_t count, const at::Tensor& pool) {
  const int64_t end = pool.size(0) * pool.size(2);
  TORCH_CHECK(std::all_of(slots, slots + count, [&](int64_t s) { return s < end; }),
              "write_kv - slots must lie inside the pool of ", end, " - got a larger one - pass the slots of this pool");
}

}  // namespace headway
