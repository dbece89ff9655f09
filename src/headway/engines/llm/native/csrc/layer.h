// Whole decoder layers in one parallel region: threads are woken once for a whole range of layers.
#pragma once

#include <memory>
#include <vector>

#include "attention.h"
#include "linear.h"

namespace headway {

struct LayerWeights {
  std::shared_ptr<PackedWeight> qkv, output, gate_up, down;
  // All in float; norms with their offset added, biases padded to whole panels; empty where the layer has none.
  std::vector<float> input_norm, post_attention_norm, q_norm, k_norm, attention_out_norm, mlp_out_norm;
  std::vector<float> qkv_bias, output_bias, gate_up_bias, down_bias;
  AttentionShape shape;
  float eps;
  Activation activation;
};

template <class T>
struct LayerPools {
  Pool<T> keys, values;
};

// The tokens of one step.
struct StepTokens {
  int64_t count;
  const float *cos, *sin;  // [count, rotary_width]
  int64_t rotary_width;
  const int64_t* slots;  // [count]
  Ragged batch;
};

// Run the layers one after another on `hidden` [tokens, hidden], in place.
template <class T>
void decoder_layers(const std::vector<const LayerWeights*>& layers, const std::vector<LayerPools<T>>& pools,
                    const StepTokens& tokens, T* hidden, int num_threads);

}  // namespace headway
