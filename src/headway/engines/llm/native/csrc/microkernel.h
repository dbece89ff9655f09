// The inner loop of every product: a few rows times one panel of 32 columns.
//
// All three weight types share one shape. A *word* is 4 bytes of a row: one float, two bf16 or four int8. A *panel* holds
// 32 columns, word by word, so one step of the loop reads 128 contiguous bytes of the panel and one word per row.
// Each output has one accumulator that adds its words strictly in order. That order is the same for every number of
// rows, which is why a row's bits never depend on the rows beside it.
#pragma once

#include <immintrin.h>

#include <array>
#include <cstdint>
#include <utility>

namespace headway {

constexpr int kPanel = 32;      // columns of a panel: two vectors, so that 14 rows fill 28 of the 32 registers
constexpr int kMaxRows = 14;
constexpr int kStepBytes = kPanel * 4;

struct F32 {
  using Element = float;
  using Sum = float;
  using Vector = __m512;
  static constexpr int kPerWord = 1;
  static Vector madd(Vector sum, __m512i a, __m512i b) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
  }
};

struct Bf16 {
  using Element = uint16_t;
  using Sum = float;
  using Vector = __m512;
  static constexpr int kPerWord = 2;
  static Vector madd(Vector sum, __m512i a, __m512i b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }
};

struct Int8 {  // unsigned rows, signed columns: the only pairing the instruction offers
  using Element = uint8_t;
  using Sum = int32_t;
  using Vector = __m512i;
  static constexpr int kPerWord = 4;
  static Vector madd(Vector sum, __m512i a, __m512i b) { return _mm512_dpbusd_epi32(sum, a, b); }
};

// What one call works on. Rows are `row_bytes` apart; `sums` is [rows, 32].
template <class Op>
struct Tile {
  const char* rows;
  int64_t row_bytes;
  const char* panel;
  int64_t steps;
  typename Op::Sum* sums;
  bool add;               // go on from what `sums` holds
  const char* prefetch;   // data the next calls will need, touched while this one computes
  int64_t prefetch_lines; // how many cache lines of it per eight steps
};

namespace detail {

template <class Op, int R>
[[gnu::always_inline]] inline void step(typename Op::Vector (&sum)[R][2], const char* const (&row)[3], int64_t stride,
                                        const char* panel, int k) {
  const __m512i left = _mm512_loadu_si512(panel + k * kStepBytes);
  const __m512i right = _mm512_loadu_si512(panel + k * kStepBytes + 64);
#pragma GCC unroll 14
  for (int r = 0; r < R; ++r) {
    // Three bases and small multiples of one stride: 14 rows with five address registers.
    const char* at = row[r / 5] + (r % 5) * stride;
    int32_t word;
    __builtin_memcpy(&word, at + 4 * k, 4);
    const __m512i a = _mm512_set1_epi32(word);
    sum[r][0] = Op::madd(sum[r][0], a, left);
    sum[r][1] = Op::madd(sum[r][1], a, right);
  }
}

template <class Op, int R>
void multiply(const Tile<Op>& t) {
  using Vector = typename Op::Vector;
  Vector sum[R][2];
#pragma GCC unroll 14
  for (int r = 0; r < R; ++r) {
    sum[r][0] = t.add ? *(const Vector*)(t.sums + r * kPanel) : Vector{};
    sum[r][1] = t.add ? *(const Vector*)(t.sums + r * kPanel + 16) : Vector{};
  }
  const int64_t stride = t.row_bytes;
  const char* row[3] = {t.rows, t.rows + 5 * stride, t.rows + 10 * stride};
  const char* panel = t.panel;
  const char* ahead = t.prefetch;
  int64_t left = t.steps;
  for (; left >= 8; left -= 8) {
    for (int64_t i = 0; i < t.prefetch_lines; ++i, ahead += 64) _mm_prefetch(ahead, _MM_HINT_T0);
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) step<Op, R>(sum, row, stride, panel, k);
    for (auto& base : row) base += 32;
    panel += 8 * kStepBytes;
  }
  for (; left > 0; --left) {
    step<Op, R>(sum, row, stride, panel, 0);
    for (auto& base : row) base += 4;
    panel += kStepBytes;
  }
#pragma GCC unroll 14
  for (int r = 0; r < R; ++r) {
    *(Vector*)(t.sums + r * kPanel) = sum[r][0];
    *(Vector*)(t.sums + r * kPanel + 16) = sum[r][1];
  }
}

}  // namespace detail

// Multiply `rows` (1 to 14) rows by the panel.
template <class Op>
inline void multiply(int rows, const Tile<Op>& tile) {
  static constexpr auto kernels = []<std::size_t... I>(std::index_sequence<I...>) {
    return std::array<void (*)(const Tile<Op>&), kMaxRows>{detail::multiply<Op, int(I) + 1>...};
  }(std::make_index_sequence<kMaxRows>{});
  kernels[rows - 1](tile);
}

}  // namespace headway
