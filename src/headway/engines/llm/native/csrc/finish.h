// What happens to a finished tile while it is still in cache; each product file instantiates these for its type.
#pragma once

#include "linear.h"

namespace headway {
namespace detail {

// Sums of one row and half a panel as floats: scaled back for int8, plus bias.
template <class Op>
inline f32x16 value(const typename Op::Sum* sums, float row_scale, const PackedWeight& w, const float* bias,
                    int64_t output) {
  f32x16 v;
  if constexpr (Op::kPerWord == 4) {
    const __m512i centred = _mm512_sub_epi32(_mm512_load_si512(sums), _mm512_loadu_si512(w.centre.data() + output));
    v = _mm512_mul_ps(_mm512_cvtepi32_ps(centred), load(w.scales.data() + output));
    v = _mm512_mul_ps(v, set1(row_scale));
  } else {
    v = _mm512_load_ps(sums);
  }
  return bias ? _mm512_add_ps(v, load(bias + output)) : v;
}

template <class Op, class T>
void linear(const Rows& x, const PackedWeight& w, const LinearOut<T>& to, Range panels) {
  const auto finish = [&](int64_t first, int64_t num_rows, int64_t task, auto& sums) {
    for (int64_t r = 0; r < num_rows; ++r) {
      const float row_scale = Op::kPerWord == 4 ? x.scales[first + r] : 1.0f;
      for (int half = 0; half < 2; ++half) {
        const int64_t output = task * kPanel + half * 16;
        const __mmask16 m = first_lanes(w.num_outputs - output);
        const int64_t at = (first + r) * to.stride + output;
        f32x16 v = value<Op>(sums[0] + r * kPanel + half * 16, row_scale, w, to.bias, output);
        if (to.residual) v = _mm512_add_ps(rounded<T>(v), load(to.residual + at, m));
        store(to.out + at, v, m);
      }
    }
  };
  product<Op, 1>(x, w, panels, 0, finish);
}

template <class Op, class T, Activation A>
void gated_linear(const Rows& x, const PackedWeight& w, const LinearOut<T>& to, Range panels) {
  const int64_t half_outputs = w.num_outputs / 2;
  const auto finish = [&](int64_t first, int64_t num_rows, int64_t task, auto& sums) {
    for (int64_t r = 0; r < num_rows; ++r) {
      const float row_scale = Op::kPerWord == 4 ? x.scales[first + r] : 1.0f;
      for (int half = 0; half < 2; ++half) {
        const int64_t tile = r * kPanel + half * 16, output = task * kPanel + half * 16;
        const f32x16 gate = rounded<T>(value<Op>(sums[0] + tile, row_scale, w, to.bias, output));
        const f32x16 up = rounded<T>(value<Op>(sums[1] + tile, row_scale, w, to.bias, output + half_outputs));
        store(to.out + (first + r) * to.stride + output, _mm512_mul_ps(activate<A>(gate), up));
      }
    }
  };
  product<Op, 2>(x, w, panels, w.num_panels / 2, finish);
}

template <class Op>
void best_linear(const Rows& x, const PackedWeight& w, Best* best, Range panels) {
  const auto finish = [&](int64_t first, int64_t num_rows, int64_t task, auto& sums) {
    for (int64_t r = 0; r < num_rows; ++r) {
      const float row_scale = Op::kPerWord == 4 ? x.scales[first + r] : 1.0f;
      for (int half = 0; half < 2; ++half) {
        const int64_t output = task * kPanel + half * 16;
        const __mmask16 m = first_lanes(w.num_outputs - output);
        const f32x16 v = value<Op>(sums[0] + r * kPanel + half * 16, row_scale, w, nullptr, output);
        if (!_mm512_mask_cmp_ps_mask(m, v, set1(best[first + r].value), _CMP_GE_OQ)) continue;
        const float peak = _mm512_mask_reduce_max_ps(m, v);
        const Best found{peak, output + __builtin_ctz(_mm512_mask_cmp_ps_mask(m, v, set1(peak), _CMP_EQ_OQ))};
        if (found.beats(best[first + r])) best[first + r] = found;
      }
    }
  };
  product<Op, 1>(x, w, panels, 0, finish);
}

}  // namespace detail

// The operations of one weight type. Each type is compiled in its own file, side by side with the others.
template <class Op>
struct Products {
  template <class T>
  static void linear(const Rows& x, const PackedWeight& w, const LinearOut<T>& to, Range panels) {
    detail::linear<Op>(x, w, to, panels);
  }

  template <class T>
  static void gated(const Rows& x, const PackedWeight& w, Activation a, const LinearOut<T>& to, Range panels) {
    if (a == Activation::silu) return detail::gated_linear<Op, T, Activation::silu>(x, w, to, panels);
    detail::gated_linear<Op, T, Activation::gelu_tanh>(x, w, to, panels);
  }

  static void best(const Rows& x, const PackedWeight& w, Best* best, Range panels) {
    detail::best_linear<Op>(x, w, best, panels);
  }
};

#define HEADWAY_PRODUCTS(prefix, Op)                                                                                \
  prefix template struct Products<Op>;                                                                              \
  prefix template void Products<Op>::linear(const Rows&, const PackedWeight&, const LinearOut<float>&, Range);       \
  prefix template void Products<Op>::linear(const Rows&, const PackedWeight&, const LinearOut<bf16>&, Range);        \
  prefix template void Products<Op>::gated(const Rows&, const PackedWeight&, Activation, const LinearOut<float>&, Range); \
  prefix template void Products<Op>::gated(const Rows&, const PackedWeight&, Activation, const LinearOut<bf16>&, Range);

}  // namespace headway
