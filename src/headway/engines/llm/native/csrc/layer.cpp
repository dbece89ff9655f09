#include "layer.h"

#include "norms.h"

namespace headway {
namespace {

// Activations between the operations of a layer, in rows that do not collide in the cache.
template <class T>
struct Grid {
  T* data = nullptr;
  int64_t stride = 0;

  T* row(int64_t r) const { return data + r * stride; }
};

// The memory of one call, kept for the next one.
struct Scratch {
  Buffer normed, qkv, attended, block_out, gated, gate_up, rows, scales;

  template <class T>
  static Grid<T> grid(Buffer& buffer, int64_t count, int64_t columns) {
    const int64_t bytes = padded_row(columns * sizeof(T));
    return {reinterpret_cast<T*>(buffer.grow(count * bytes)), bytes / int64_t{sizeof(T)}};
  }
};

// Shared by all threads of a call; each runs the same steps on its own share.
template <class T>
class Call {
 public:
  Call(const std::vector<const LayerWeights*>& layers, const std::vector<LayerPools<T>>& pools, const StepTokens& tokens,
       T* hidden, Scratch& scratch)
      : layers_(layers), pools_(pools), t_(tokens), hidden_(hidden) {
    int64_t row_bytes = 0;
    for (const auto* layer : layers) {
      for (const auto* w : {&layer->qkv, &layer->output, &layer->gate_up, &layer->down}) {
        row_bytes = std::max(row_bytes, RowSpace::bytes_for(t_.count, (*w)->num_inputs, (*w)->kind));
      }
    }
    const LayerWeights& first = *layers.front();
    const int64_t n = t_.count, width = first.qkv->num_inputs;
    width_ = width;
    normed_ = Scratch::grid<T>(scratch.normed, n, width);
    block_out_ = Scratch::grid<T>(scratch.block_out, n, width);
    qkv_ = Scratch::grid<T>(scratch.qkv, n, first.qkv->num_outputs);
    attended_ = Scratch::grid<T>(scratch.attended, n, first.output->num_inputs);
    gated_ = Scratch::grid<T>(scratch.gated, n, first.down->num_inputs);
    if (!halves_fit(first)) gate_up_ = Scratch::grid<T>(scratch.gate_up, n, first.gate_up->num_outputs);
    space_ = {scratch.rows.grow(row_bytes), scratch.scales.template as<float>(n)};
    tasks_ = attention_tasks(t_.batch, first.shape);
  }

  static constexpr int64_t kPhasesPerLayer = 13;

  void run(Team team) {
    for (size_t i = 0; i < layers_.size(); ++i) {
      const LayerWeights& w = *layers_[i];
      norm(w.input_norm, w.eps, w.qkv->kind, team);
      project(normed_, *w.qkv, {qkv_.data, qkv_.stride, bias(w.qkv_bias)}, team);
      place(w, pools_[i], team);
      mix(w, pools_[i], team);
      add_block(attended_, *w.output, bias(w.output_bias), w.attention_out_norm, w.eps, team);
      norm(w.post_attention_norm, w.eps, w.gate_up->kind, team);
      gate(w, team);
      add_block(gated_, *w.down, bias(w.down_bias), w.mlp_out_norm, w.eps, team);
    }
  }

 private:
  void norm(const std::vector<float>& weight, float eps, Kind kind, Team& team) {
    const Rows rows = rows_of(normed_, width_, kind);
    team.each(t_.count, [&](Range which) {
      for (int64_t r = which.begin; r < which.end; ++r) {
        rms_row<T>(hidden_ + r * width_, nullptr, weight.data(), eps, width_, normed_.row(r), nullptr);
      }
      fill_rows(rows, normed_.data, width_, normed_.stride, kind, which);
    });
  }

  Rows rows_of(const Grid<T>& x, int64_t n, Kind kind) const {
    return as_rows(x.data, t_.count, n, x.stride, kind, space_);
  }

  // `x` as rows for this weight was filled by whoever made x.
  void project(const Grid<T>& x, const PackedWeight& w, const LinearOut<T>& to, Team& team) {
    const Rows rows = rows_of(x, w.num_inputs, w.kind);
    team.each(w.num_panels, [&](Range panels) { linear<T>(rows, w, to, panels); });
  }

  // Norm and rotate queries and keys, and write keys and values to the pool.
  void place(const LayerWeights& w, const LayerPools<T>& pools, Team& team) {
    const int64_t num_items = w.shape.num_heads + w.shape.num_kv_heads;
    team.each(t_.count * num_items, [&](Range which) {
      for (int64_t i = which.begin; i < which.end; ++i) place_head(w, pools, i / num_items, i % num_items);
    });
  }

  void place_head(const LayerWeights& w, const LayerPools<T>& pools, int64_t token, int64_t head) {
    const auto& s = w.shape;
    const int64_t kv_head = head - s.num_heads;
    T* x = qkv_.row(token) + head * s.head_dim;
    const auto& weight = kv_head < 0 ? w.q_norm : w.k_norm;
    if (!weight.empty()) rms_row<T>(x, nullptr, weight.data(), w.eps, s.head_dim, x, nullptr);
    rotate_head(x, t_.cos + token * t_.rotary_width, t_.sin + token * t_.rotary_width, t_.rotary_width);
    if (kv_head < 0) return;
    pools.keys.write(t_.slots[token], kv_head, x, s.head_dim);
    pools.values.write(t_.slots[token], kv_head, x + s.num_kv_heads * s.head_dim, s.head_dim);
  }

  void mix(const LayerWeights& w, const LayerPools<T>& pools, Team& team) {
    const Attention<T> a{qkv_.data, qkv_.stride, pools.keys, pools.values, attended_.data, attended_.stride,
                         t_.batch, w.shape};
    team.each(tasks_.size(), [&](Range which) { attend<T>(a, tasks_, which); }, 1);
  }

  // hidden += norm(x w), the norm only where the layer has one.
  void add_block(const Grid<T>& x, const PackedWeight& w, const float* bias, const std::vector<float>& out_norm,
                 float eps, Team& team) {
    const Rows rows = rows_of(x, w.num_inputs, w.kind);
    if (copied(rows, x.data)) {
      team.each(t_.count, [&](Range which) { fill_rows(rows, x.data, w.num_inputs, x.stride, w.kind, which); });
    }
    if (out_norm.empty()) return project(x, w, {hidden_, width_, bias, hidden_}, team);
    project(x, w, {block_out_.data, block_out_.stride, bias}, team);
    team.each(t_.count, [&](Range which) {
      for (int64_t r = which.begin; r < which.end; ++r) add_normed(block_out_.row(r), out_norm.data(), eps, r);
    });
  }

  void add_normed(T* out, const float* weight, float eps, int64_t r) {
    T* hidden = hidden_ + r * width_;
    rms_row<T>(out, nullptr, weight, eps, width_, out, nullptr);
    for (int64_t i = 0; i < width_; i += 16) {
      const __mmask16 m = first_lanes(width_ - i);
      store(hidden + i, _mm512_add_ps(load(hidden + i, m), load(out + i, m)), m);
    }
  }

  // gated = activation(normed gate) * (normed up).
  void gate(const LayerWeights& w, Team& team) {
    const Rows rows = rows_of(normed_, width_, w.gate_up->kind);
    if (halves_fit(w)) {
      const LinearOut<T> to{gated_.data, gated_.stride, bias(w.gate_up_bias)};
      return team.each(w.gate_up->num_panels / 2,
                       [&](Range panels) { gated_linear<T>(rows, *w.gate_up, w.activation, to, panels); });
    }
    project(normed_, *w.gate_up, {gate_up_.data, gate_up_.stride, bias(w.gate_up_bias)}, team);
    team.each(t_.count, [&](Range which) {
      for (int64_t r = which.begin; r < which.end; ++r) {
        gated_row(w.activation, gate_up_.row(r), w.down->num_inputs, gated_.row(r));
      }
    });
  }

  static bool halves_fit(const LayerWeights& w) { return w.gate_up->num_outputs % (2 * kPanel) == 0; }
  static const float* bias(const std::vector<float>& b) { return b.empty() ? nullptr : b.data(); }

  const std::vector<const LayerWeights*>& layers_;
  const std::vector<LayerPools<T>>& pools_;
  const StepTokens& t_;
  T* hidden_;
  int64_t width_;
  std::vector<AttentionTask> tasks_;
  Grid<T> normed_, qkv_, attended_, block_out_, gated_, gate_up_;
  RowSpace space_;
};

}  // namespace

template <class T>
void decoder_layers(const std::vector<const LayerWeights*>& layers, const std::vector<LayerPools<T>>& pools,
                    const StepTokens& tokens, T* hidden, int num_threads) {
  thread_local Scratch scratch;
  Call<T> call(layers, pools, tokens, hidden, scratch);
  const int64_t num_phases = Call<T>::kPhasesPerLayer * int64_t(layers.size());
  in_parallel(num_threads, num_phases, [&](Team team) { call.run(team); });
}

template void decoder_layers<float>(const std::vector<const LayerWeights*>&, const std::vector<LayerPools<float>>&,
                                    const StepTokens&, float*, int);
template void decoder_layers<bf16>(const std::vector<const LayerWeights*>&, const std::vector<LayerPools<bf16>>&,
                                   const StepTokens&, bf16*, int);

}  // namespace headway
