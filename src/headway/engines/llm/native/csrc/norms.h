// Row-wise operations between the products: norms, gated activations, rotary.
#pragma once

#include "simd.h"

namespace headway {

// out = (x + residual) / rms * weight, and the rounded sum itself into `sum` (which may be `residual`'s or x's place).
// `weight` is in float with any offset already added. `sum` and `residual` may be null.
template <class T>
inline void rms_row(const T* x, const T* residual, const float* weight, float eps, int64_t n, T* out, T* sum) {
  f32x16 squares = _mm512_setzero_ps();
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 m = first_lanes(n - i);
    f32x16 v = load(x + i, m);
    if (residual) v = rounded<T>(_mm512_add_ps(v, load(residual + i, m)));
    if (sum) store(sum + i, v, m);
    squares = _mm512_fmadd_ps(v, v, squares);
  }
  const T* total = sum ? sum : x;
  const f32x16 inverse = set1(1.0f / __builtin_sqrtf(_mm512_reduce_add_ps(squares) / float(n) + eps));
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 m = first_lanes(n - i);
    store(out + i, _mm512_mul_ps(_mm512_mul_ps(load(total + i, m), inverse), load(weight + i, m)), m);
  }
}

// out = activation(gate) * up for one row; `gate_up` holds the n gates first.
template <Activation A, class T>
inline void gated_row(const T* gate_up, int64_t n, T* out) {
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 m = first_lanes(n - i);
    store(out + i, _mm512_mul_ps(activate<A>(load(gate_up + i, m)), load(gate_up + n + i, m)), m);
  }
}

template <class T>
inline void gated_row(Activation activation, const T* gate_up, int64_t n, T* out) {
  if (activation == Activation::silu) return gated_row<Activation::silu>(gate_up, n, out);
  gated_row<Activation::gelu_tanh>(gate_up, n, out);
}

// Rotate the first `width` values of one head: value i is paired with value i + width / 2.
template <class T>
inline void rotate_head(T* x, const float* cos, const float* sin, int64_t width) {
  const int64_t half = width / 2;
  for (int64_t i = 0; i < half; i += 16) {
    const __mmask16 m = first_lanes(half - i);
    const f32x16 a = load(x + i, m), b = load(x + half + i, m);
    const f32x16 b_sin = _mm512_mul_ps(b, load(sin + i, m)), a_sin = _mm512_mul_ps(a, load(sin + half + i, m));
    store(x + i, _mm512_fmsub_ps(a, load(cos + i, m), b_sin), m);
    store(x + half + i, _mm512_fmadd_ps(b, load(cos + half + i, m), a_sin), m);
  }
}

}  // namespace headway
