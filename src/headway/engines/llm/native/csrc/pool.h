// One paged pool of keys or values: [blocks, kv_heads, block_size, head_dim], rows contiguous.
#pragma once

#include <cstdint>
#include <cstring>

namespace headway {

template <class T>
struct Pool {
  T* data;
  int64_t block_stride, head_stride, row_stride;  // in elements
  int64_t block_size;

  T* row(int64_t block, int64_t head, int64_t offset) const {
    return data + block * block_stride + head * head_stride + offset * row_stride;
  }

  // Copy one token's vector of one head to its slot; a negative slot is nowhere.
  void write(int64_t slot, int64_t head, const T* from, int64_t head_dim) const {
    if (slot < 0) return;
    std::memcpy(row(slot / block_size, head, slot % block_size), from, head_dim * sizeof(T));
  }
};

}  // namespace headway
