// Aligned memory: weights that live long, and scratch that is kept from call to call.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace headway {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t bytes) { grow(bytes); }

  // Make room for `bytes`; what was inside is lost when the room was too small.
  char* grow(int64_t bytes) {
    if (bytes <= size_) return data();
    // Weights are streamed end to end: with 4 KiB pages the page walks alone would cost a tenth of the bandwidth.
    const int64_t page = bytes >= kHuge ? kHuge : 64;
    const int64_t rounded = (bytes + page - 1) / page * page;
    bytes_.reset(static_cast<char*>(std::aligned_alloc(page, rounded)));
    if (!bytes_) throw std::bad_alloc();
    if (page == kHuge) madvise(bytes_.get(), rounded, MADV_HUGEPAGE);
    size_ = rounded;
    return data();
  }

  template <class T>
  T* as(int64_t count) {
    return reinterpret_cast<T*>(grow(count * static_cast<int64_t>(sizeof(T))));
  }

  char* data() const { return bytes_.get(); }
  int64_t size() const { return size_; }

 private:
  static constexpr int64_t kHuge = int64_t{2} << 20;
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  std::unique_ptr<char, Free> bytes_;
  int64_t size_ = 0;
};

// Bytes from one row to the next: an odd number of cache lines, or rows of a power-of-two width would all fall into
// the same few sets of the cache.
inline int64_t padded_row(int64_t bytes) { return (((bytes + 63) / 64) | 1) * 64; }

}  // namespace headway
