#include "linear.h"

#include "finish.h"

namespace headway {

HEADWAY_PRODUCTS(extern, F32)
HEADWAY_PRODUCTS(extern, Bf16)
HEADWAY_PRODUCTS(extern, Int8)

namespace {

// Calls `work` with the operation that multiplies this kind of weight.
template <class Work>
void with_op(Kind kind, Work&& work) {
  switch (kind) {
    case Kind::float32: return work(F32{});
    case Kind::bfloat16: return work(Bf16{});
    case Kind::int8: return work(Int8{});
  }
}

}  // namespace

template <class T>
void linear(const Rows& x, const PackedWeight& w, const LinearOut<T>& to, Range panels) {
  with_op(w.kind, [&]<class Op>(Op) { Products<Op>::linear(x, w, to, panels); });
}

template <class T>
void gated_linear(const Rows& x, const PackedWeight& w, Activation activation, const LinearOut<T>& to, Range panels) {
  with_op(w.kind, [&]<class Op>(Op) { Products<Op>::gated(x, w, activation, to, panels); });
}

void best_linear(const Rows& x, const PackedWeight& w, Best* best, Range panels) {
  with_op(w.kind, [&]<class Op>(Op) { Products<Op>::best(x, w, best, panels); });
}

std::vector<float> padded_bias(const float* bias, int64_t n) {
  std::vector<float> padded((n + kPanel - 1) / kPanel * kPanel, 0.0f);
  std::copy(bias, bias + n, padded.begin());
  return padded;
}

template void linear<float>(const Rows&, const PackedWeight&, const LinearOut<float>&, Range);
template void linear<bf16>(const Rows&, const PackedWeight&, const LinearOut<bf16>&, Range);
template void gated_linear<float>(const Rows&, const PackedWeight&, Activation, const LinearOut<float>&, Range);
template void gated_linear<bf16>(const Rows&, const PackedWeight&, Activation, const LinearOut<bf16>&, Range);

}  // namespace headway
