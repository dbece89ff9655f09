// Paged rows gathered into panels: keys turned so that 32 keys lie side by side, values paired as products read them.
#pragma once

#include "microkernel.h"
#include "simd.h"

namespace headway {

// Turn a 16 x 16 block of words.
inline void transpose(__m512i (&r)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

// 32 key rows of `words` words into a panel [words][32].
inline void pack_keys(const char* const* rows, int64_t words, char* panel) {
  for (int half = 0; half < 2; ++half) {
    for (int64_t w = 0; w < words; w += 16) {
      const __mmask16 m = first_lanes(words - w);
      __m512i block[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) block[i] = _mm512_maskz_loadu_epi32(m, rows[half * 16 + i] + w * 4);
      transpose(block);
      const int64_t count = words - w < 16 ? words - w : 16;
      for (int64_t i = 0; i < count; ++i) _mm512_store_si512(panel + (w + i) * kStepBytes + half * 64, block[i]);
    }
  }
}

// 32 columns of value rows into a panel [keys][32] of floats.
inline void pack_values(const char* const* rows, int64_t num_keys, int64_t first, int64_t head_dim, const float*,
                        char* panel) {
  const __mmask16 left = first_lanes(head_dim - first), right = first_lanes(head_dim - first - 16);
  for (int64_t k = 0; k < num_keys; ++k) {
    const float* row = reinterpret_cast<const float*>(rows[k]) + first;
    _mm512_store_ps(panel + k * kStepBytes, load(row, left));
    _mm512_store_ps(panel + k * kStepBytes + 64, load(row + 16, right));
  }
}

// The same for bf16: a word holds one column of two neighbouring keys; `num_keys` is even.
inline void pack_values(const char* const* rows, int64_t num_keys, int64_t first, int64_t head_dim, const bf16*,
                        char* panel) {
  const int64_t columns = head_dim - first;
  const __mmask32 m = columns >= 32 ? ~__mmask32{0} : (__mmask32{1} << columns) - 1;
  alignas(64) static constexpr auto order = [] {
    struct { uint16_t low[32], high[32]; } o{};
    for (int i = 0; i < 32; ++i) {
      o.low[i] = uint16_t(i / 2 + i % 2 * 32);
      o.high[i] = uint16_t(i / 2 + 16 + i % 2 * 32);
    }
    return o;
  }();
  const __m512i low = _mm512_loadu_si512(order.low), high = _mm512_loadu_si512(order.high);
  for (int64_t k = 0; k < num_keys; k += 2) {
    const __m512i a = _mm512_maskz_loadu_epi16(m, rows[k] + first * 2);
    const __m512i b = _mm512_maskz_loadu_epi16(m, rows[k + 1] + first * 2);
    _mm512_store_si512(panel + k / 2 * kStepBytes, _mm512_permutex2var_epi16(a, low, b));
    _mm512_store_si512(panel + k / 2 * kStepBytes + 64, _mm512_permutex2var_epi16(a, high, b));
  }
}

}  // namespace headway
