#include "packed.h"

#include <cmath>

#include "team.h"

namespace headway {
namespace {

float widen(float v) { return v; }
float widen(bf16 v) {
  const uint32_t bits = uint32_t{v.bits} << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

uint16_t narrow(float v) { return (uint16_t)_mm_extract_epi16((__m128i)_mm_cvtneps_pbh(_mm_set_ss(v)), 0); }

// One column of a panel is one row of the weight: its words are 128 bytes apart.
template <class T>
void pack_column(PackedWeight& packed, const T* row, char* column, int64_t output) {
  const int64_t n = packed.num_inputs;
  if (packed.kind == Kind::float32) {
    for (int64_t k = 0; k < n; ++k) *(float*)(column + k * kStepBytes) = widen(row[k]);
  } else if (packed.kind == Kind::bfloat16) {
    for (int64_t k = 0; k < n; ++k) *(uint16_t*)(column + k / 2 * kStepBytes + k % 2 * 2) = narrow(widen(row[k]));
  } else {
    float largest = 1.17549435e-38f;
    for (int64_t k = 0; k < n; ++k) largest = std::max(largest, std::fabs(widen(row[k])));
    const float inverse = 127.0f / largest;
    int32_t sum = 0;
    for (int64_t k = 0; k < n; ++k) {
      const auto q = static_cast<int8_t>(std::nearbyintf(widen(row[k]) * inverse));
      column[k / 4 * kStepBytes + k % 4] = q;
      sum += q;
    }
    packed.scales[output] = largest / 127.0f;
    packed.centre[output] = 128 * sum;
  }
}

template <class T>
void pack_panel(PackedWeight& packed, const T* weight, int64_t p) {
  char* panel = packed.data.data() + p * packed.panel_bytes();
  std::memset(panel, 0, packed.panel_bytes());  // columns and words past the end multiply as zeros
  const int64_t end = std::min<int64_t>(kPanel, packed.num_outputs - p * kPanel);
  for (int64_t c = 0; c < end; ++c) {
    const int64_t output = p * kPanel + c;
    pack_column(packed, weight + output * packed.num_inputs, panel + c * 4, output);
  }
}

}  // namespace

template <class T>
void pack(PackedWeight& packed, const T* weight, int num_threads) {
  packed.steps = words_per_row(packed.kind, packed.num_inputs);
  packed.num_panels = (packed.num_outputs + kPanel - 1) / kPanel;
  packed.data.grow(std::max<int64_t>(packed.num_panels * packed.panel_bytes(), 1));
  if (packed.kind == Kind::int8) {
    packed.scales.assign(packed.num_panels * kPanel, 0.0f);
    packed.centre.assign(packed.num_panels * kPanel, 0);
  }
  in_parallel(num_threads, 1, [&](Team team) {
    team.each(packed.num_panels, [&](Range panels) {
      for (int64_t p = panels.begin; p < panels.end; ++p) pack_panel(packed, weight, p);
    });
  });
}

template void pack<float>(PackedWeight&, const float*, int);
template void pack<bf16>(PackedWeight&, const bf16*, int);

}  // namespace headway
