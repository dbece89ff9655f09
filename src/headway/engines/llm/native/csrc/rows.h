// Activations in the form a product reads: rows of words, for int8 weights rounded to bytes.
#pragma once

#include "packed.h"
#include "team.h"

namespace headway {

struct Rows {
  const char* data;
  int64_t row_bytes;
  const float* scales;  // int8: one per row
  int64_t count;
};

// Round one row to bytes around 128 and return its scale.
template <class T>
float quantise_row(const T* x, int64_t n, uint8_t* out) {
  f32x16 largest = set1(1.17549435e-38f);
  for (int64_t i = 0; i < n; i += 16) {
    largest = _mm512_max_ps(largest, _mm512_abs_ps(load(x + i, first_lanes(n - i))));
  }
  const float peak = _mm512_reduce_max_ps(largest);
  const f32x16 inverse = set1(127.0f / peak);
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 m = first_lanes(n - i);
    const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(load(x + i, m), inverse));
    _mm_mask_storeu_epi8(out + i, m, _mm512_cvtepi32_epi8(_mm512_add_epi32(q, _mm512_set1_epi32(128))));
  }
  return peak / 127.0f;
}

// Memory for rows that must be copied, sized by `bytes_for` and `count` scales.
struct RowSpace {
  char* bytes;
  float* scales;

  static int64_t bytes_for(int64_t count, int64_t n, Kind kind) { return count * padded_row(words_per_row(kind, n) * 4); }
};

namespace detail {

// The very type of the weight, whole words, and no stride that makes many rows fight for the same cache sets.
inline bool fits(const float*, int64_t, int64_t stride, Kind kind, int64_t count) {
  return kind == Kind::float32 && (count <= 4 || stride % 512 != 0);
}
inline bool fits(const bf16*, int64_t n, int64_t stride, Kind kind, int64_t count) {
  return kind == Kind::bfloat16 && n % 2 == 0 && (count <= 4 || stride % 1024 != 0);
}

template <class T, class U>
void convert_row(const T* x, int64_t n, U* out) {
  for (int64_t i = 0; i < n; i += 16) store(out + i, load(x + i, first_lanes(n - i)), first_lanes(n - i));
}

}  // namespace detail

// Describe `x [count, n]` as rows for a weight kind: the very bytes of x where they fit, a copy in `space` otherwise.
template <class T>
Rows as_rows(const T* x, int64_t count, int64_t n, int64_t stride, Kind kind, const RowSpace& space) {
  if (detail::fits(x, n, stride, kind, count)) {
    return {reinterpret_cast<const char*>(x), stride * int64_t{sizeof(T)}, nullptr, count};
  }
  return {space.bytes, padded_row(words_per_row(kind, n) * 4), space.scales, count};
}

template <class T>
bool copied(const Rows& rows, const T* x) {
  return rows.data != reinterpret_cast<const char*>(x);
}

// Copy some of the rows, if they are a copy.
template <class T>
void fill_rows(const Rows& rows, const T* x, int64_t n, int64_t stride, Kind kind, Range which) {
  if (!copied(rows, x)) return;
  for (int64_t r = which.begin; r < which.end; ++r) {
    char* out = const_cast<char*>(rows.data) + r * rows.row_bytes;
    std::memset(out + words_per_row(kind, n) * 4 - 4, 0, 4);  // the rest of the last word multiplies as zero
    switch (kind) {
      case Kind::int8:
        const_cast<float*>(rows.scales)[r] = quantise_row(x + r * stride, n, reinterpret_cast<uint8_t*>(out));
        break;
      case Kind::float32: detail::convert_row(x + r * stride, n, reinterpret_cast<float*>(out)); break;
      case Kind::bfloat16: detail::convert_row(x + r * stride, n, reinterpret_cast<bf16*>(out)); break;
    }
  }
}

}  // namespace headway
