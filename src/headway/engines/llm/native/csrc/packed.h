// A weight matrix laid out panel by panel, so that each thread reads one contiguous stream.
#pragma once

#include <string>
#include <vector>

#include "memory.h"
#include "microkernel.h"
#include "simd.h"

namespace headway {

enum class Kind { float32, bfloat16, int8 };

struct PackedWeight {
  Kind kind;
  int64_t num_outputs, num_inputs;
  int64_t steps;       // words of one column
  int64_t num_panels;
  Buffer data;                      // [panels, steps, 32, 4 bytes]
  std::vector<float> scales;        // int8: one per output, zero past the end
  std::vector<int32_t> centre;      // int8: 128 times the sum of a column, what unsigned rows add too much

  const char* panel(int64_t p) const { return data.data() + p * panel_bytes(); }
  int64_t panel_bytes() const { return steps * kStepBytes; }
};

// Pack a contiguous [num_outputs, num_inputs] weight; T is float or bf16, rounded as `kind` asks.
template <class T>
void pack(PackedWeight& packed, const T* weight, int num_threads);

inline int64_t words_per_row(Kind kind, int64_t num_inputs) {
  const int per_word = kind == Kind::float32 ? 1 : kind == Kind::bfloat16 ? 2 : 4;
  return (num_inputs + per_word - 1) / per_word;
}

}  // namespace headway
