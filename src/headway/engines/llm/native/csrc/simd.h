// Sixteen lanes at a time: loads that widen to float, stores that round back, and the functions activations need.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace headway {

struct bf16 {
  uint16_t bits;
};

using f32x16 = __m512;

inline __mmask16 first_lanes(int64_t n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }

inline f32x16 load(const float* p, __mmask16 m = 0xffff) { return _mm512_maskz_loadu_ps(m, p); }
inline f32x16 load(const bf16* p, __mmask16 m = 0xffff) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p)), 16));
}

inline void store(float* p, f32x16 v, __mmask16 m = 0xffff) { _mm512_mask_storeu_ps(p, m, v); }
inline void store(bf16* p, f32x16 v, __mmask16 m = 0xffff) {
  _mm256_mask_storeu_epi16(p, m, (__m256i)_mm512_cvtneps_pbh(v));
}

// What a value becomes once stored as T: fused steps round where separate ones would, so both give the same bits.
template <class T>
inline f32x16 rounded(f32x16 v);
template <>
inline f32x16 rounded<float>(f32x16 v) {
  return v;
}
template <>
inline f32x16 rounded<bf16>(f32x16 v) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(v)), 16));
}

inline f32x16 set1(float v) { return _mm512_set1_ps(v); }

// e^x to about one unit in the last place; minus infinity gives exactly 0, which is what hides a masked key.
inline f32x16 exp(f32x16 x) {
  x = _mm512_max_ps(_mm512_min_ps(x, set1(88.7f)), set1(-110.0f));
  const f32x16 n = _mm512_roundscale_ps(_mm512_mul_ps(x, set1(1.44269504f)), _MM_FROUND_TO_NEAREST_INT);
  f32x16 r = _mm512_fnmadd_ps(n, set1(0.693145752f), x);  // ln 2 in two parts, the first exact in few bits
  r = _mm512_fnmadd_ps(n, set1(1.42860682e-6f), r);
  f32x16 p = set1(1.0f / 5040);
  for (float c : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) p = _mm512_fmadd_ps(p, r, set1(c));
  return _mm512_scalef_ps(p, n);
}

inline f32x16 sigmoid(f32x16 x) {
  return _mm512_div_ps(set1(1.0f), _mm512_add_ps(set1(1.0f), exp(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

inline f32x16 tanh(f32x16 x) {
  const f32x16 sq = _mm512_mul_ps(x, x);
  f32x16 p = set1(-0.00591984f);  // least-squares odd polynomial on [0, 0.6], where 1 - 2 / (1 + e^2x) cancels
  for (float c : {0.02081824f, -0.05379082f, 0.13332012f, -0.33333302f}) p = _mm512_fmadd_ps(p, sq, set1(c));
  const f32x16 small = _mm512_fmadd_ps(_mm512_mul_ps(p, sq), x, x);
  const f32x16 large = _mm512_sub_ps(
      set1(1.0f), _mm512_div_ps(set1(2.0f), _mm512_add_ps(set1(1.0f), exp(_mm512_add_ps(x, x)))));
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(_mm512_abs_ps(x), set1(0.6f), _CMP_LT_OQ), large, small);
}

enum class Activation { silu, gelu_tanh };

template <Activation A>
inline f32x16 activate(f32x16 x) {
  if constexpr (A == Activation::silu) return _mm512_mul_ps(x, sigmoid(x));
  // x/2 (1 + tanh u) is x sigmoid(2u), which does not cancel for negative u.
  const f32x16 cubic = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_mul_ps(x, x), x), set1(0.044715f), x);
  return _mm512_mul_ps(x, sigmoid(_mm512_mul_ps(cubic, set1(2.0f * 0.7978845608f))));
}

}  // namespace headway
