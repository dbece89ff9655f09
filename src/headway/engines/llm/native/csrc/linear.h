// Linear layers: a product and what is done to each finished tile.
#pragma once

#include "product.h"

namespace headway {

// Where the outputs go. `residual`, if any, has the layout of `out` and is added after rounding.
template <class T>
struct LinearOut {
  T* out;
  int64_t stride;
  const float* bias = nullptr;  // padded to whole panels
  const T* residual = nullptr;
};

// Panels [begin, end) of out = x w + bias (+ residual).
template <class T>
void linear(const Rows& x, const PackedWeight& w, const LinearOut<T>& to, Range panels);

// Panels [begin, end) of out = activation(x gate + bias) * (x up + bias), the halves of `w`. The number of outputs of a
// half must be a multiple of 32.
template <class T>
void gated_linear(const Rows& x, const PackedWeight& w, Activation activation, const LinearOut<T>& to, Range panels);

struct Best {
  float value = -__builtin_inff();
  int64_t index = 0;

  bool beats(const Best& other) const {
    return value > other.value || (value == other.value && index < other.index);
  }
};

// Update each row's best[row] by panels [begin, end): the largest output, on ties the lowest index.
void best_linear(const Rows& x, const PackedWeight& w, Best* best, Range panels);

// A bias in float, padded with zeros to whole panels.
std::vector<float> padded_bias(const float* bias, int64_t n);

}  // namespace headway
