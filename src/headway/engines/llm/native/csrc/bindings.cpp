// The door from Python: checks shapes, unwraps tensors, and calls the kernels without the interpreter's lock.
#include <torch/extension.h>

#include "layer.h"
#include "norms.h"
#include "tensors.h"

namespace headway {
namespace {

using at::Tensor;
using Weight = std::shared_ptr<PackedWeight>;

const std::pair<const char*, Kind> kKinds[] = {
    {"float32", Kind::float32}, {"bfloat16", Kind::bfloat16}, {"int8", Kind::int8}};

Weight pack_weight(const Tensor& weight, const std::string& kind) {
  TORCH_CHECK(weight.dim() == 2, "pack - the weight must be [N, K] - got ", weight.sizes(), " - reshape it");
  const auto* found = std::find_if(std::begin(kKinds), std::end(kKinds), [&](auto& k) { return k.first == kind; });
  TORCH_CHECK(found != std::end(kKinds), "pack - kind must be float32, bfloat16 or int8 - got ", kind,
              " - convert the weight to float32 first");
  auto packed = std::make_shared<PackedWeight>();
  packed->kind = found->second;
  packed->num_outputs = weight.size(0);
  packed->num_inputs = weight.size(1);
  with_type(weight, "pack", [&]<class T>(T) {
    const Tensor plain = weight.contiguous();
    pack<T>(*packed, data<T>(plain), at::get_num_threads());
  });
  return packed;
}

// Rows of `x` for this weight, with memory for a copy that lives as long as the calling thread.
template <class T>
struct Input {
  Input(const Tensor& x, const PackedWeight& w) : plain(x.contiguous()), count(x.size(0)), w_(w) {
    thread_local Buffer bytes, scales;
    const RowSpace space{bytes.grow(RowSpace::bytes_for(count, w.num_inputs, w.kind)), scales.as<float>(count)};
    rows = as_rows(data<T>(plain), count, w.num_inputs, w.num_inputs, w.kind, space);
  }

  // All threads call this, and may read `rows` afterwards.
  void fill(Team& team) const {
    if (!copied(rows, data<T>(plain))) return;
    team.each(count, [&](Range which) {
      fill_rows(rows, data<T>(plain), w_.num_inputs, w_.num_inputs, w_.kind, which);
    });
  }

  Tensor plain;
  int64_t count;
  Rows rows;

 private:
  const PackedWeight& w_;
};

void check_input(const Tensor& x, const PackedWeight& w, const char* where) {
  TORCH_CHECK(x.dim() == 2 && x.size(1) == w.num_inputs, where, " - x must be [rows, ", w.num_inputs, "] - got ",
              x.sizes(), " - pass activations of the width the weight was packed with");
}

int threads_of(int64_t rows, const PackedWeight& w) {
  return threads_for(rows * w.num_outputs * w.num_inputs, at::get_num_threads());
}

std::vector<float> floats(const std::optional<Tensor>& t, float offset = 0.0f) {
  if (!t) return {};
  const Tensor wide = t->to(at::kFloat).add(offset).contiguous();
  return {wide.data_ptr<float>(), wide.data_ptr<float>() + wide.numel()};
}

std::vector<float> bias_of(const std::optional<Tensor>& bias, const PackedWeight& w) {
  const auto plain = floats(bias);
  TORCH_CHECK(plain.empty() || int64_t(plain.size()) == w.num_outputs, "linear - the bias must have ", w.num_outputs,
              " values - got ", plain.size(), " - pass the bias that belongs to the weight");
  return plain.empty() ? plain : padded_bias(plain.data(), w.num_outputs);
}

Tensor linear_(const Tensor& x, const Weight& w, const std::optional<Tensor>& bias, bool float_out) {
  check_input(x, *w, "linear");
  const auto padded = bias_of(bias, *w);
  Tensor out = at::empty({x.size(0), w->num_outputs}, x.options().dtype(float_out ? at::kFloat : x.scalar_type()));
  with_type(x, "linear", [&]<class T>(T) {
    const Input<T> input(x, *w);
    with_type(out, "linear", [&]<class U>(U) {
      const LinearOut<U> to{data<U>(out), w->num_outputs, padded.empty() ? nullptr : padded.data()};
      in_parallel(threads_of(input.count, *w), 2, [&](Team team) {
        input.fill(team);
        team.each(w->num_panels, [&](Range panels) { linear<U>(input.rows, *w, to, panels); });
      });
    });
  });
  return out;
}

Tensor argmax_linear(const Tensor& x, const Weight& w) {
  check_input(x, *w, "argmax_linear");
  const int64_t count = x.size(0);
  const int num_threads = threads_of(count, *w);
  std::vector<Best> best(count * num_threads);  // [threads, rows]
  with_type(x, "argmax_linear", [&]<class T>(T) {
    const Input<T> input(x, *w);
    in_parallel(num_threads, 2, [&](Team team) {
      input.fill(team);
      Best* mine = best.data() + team.rank() * count;
      team.each(w->num_panels, [&](Range panels) { best_linear(input.rows, *w, mine, panels); });
    });
  });
  Tensor out = at::empty({count}, x.options().dtype(at::kLong));
  for (int64_t r = 0; r < count; ++r) {
    Best winner = best[r];
    for (int t = 1; t < num_threads; ++t) {
      if (best[t * count + r].beats(winner)) winner = best[t * count + r];
    }
    out.data_ptr<int64_t>()[r] = winner.index;
  }
  return out;
}

template <class Work>
void for_rows(int64_t count, int64_t operations, Work&& work) {
  in_parallel(threads_for(operations, at::get_num_threads()), 1, [&](Team team) {
    team.each(count, [&](Range which) {
      for (int64_t r = which.begin; r < which.end; ++r) work(r);
    });
  });
}

std::pair<Tensor, Tensor> rms_norm(const Tensor& x, const Tensor& weight, double eps,
                                   const std::optional<Tensor>& residual, double offset) {
  const int64_t n = x.size(-1), count = n ? x.numel() / n : 0;
  TORCH_CHECK(weight.numel() == n, "rms_norm - the weight must have ", n, " values - got ", weight.numel(),
              " - pass the norm that belongs to this width");
  TORCH_CHECK(!residual || residual->sizes() == x.sizes(), "rms_norm - residual and x must have one shape - got ",
              residual ? residual->sizes() : x.sizes(), " and ", x.sizes(), " - pass the hidden states of these tokens");
  const Tensor plain = x.contiguous();
  const Tensor other = residual ? residual->to(x.scalar_type()).contiguous() : Tensor();
  Tensor out = at::empty_like(plain), sum = residual ? at::empty_like(plain) : x;
  const auto scale = floats(weight, float(offset));
  with_type(x, "rms_norm", [&]<class T>(T) {
    for_rows(count, x.numel(), [&](int64_t r) {
      const T* added = residual ? data<T>(other) + r * n : nullptr;
      T* total = residual ? data<T>(sum) + r * n : nullptr;
      rms_row<T>(data<T>(plain) + r * n, added, scale.data(), float(eps), n, data<T>(out) + r * n, total);
    });
  });
  return {out, sum};
}

template <Activation A>
Tensor gated(const Tensor& gate_up) {
  TORCH_CHECK(gate_up.size(-1) % 2 == 0, "silu_mul - the last dimension must hold gate and up - got ",
              gate_up.size(-1), " columns - pass both halves side by side");
  const int64_t n = gate_up.size(-1) / 2;
  const Tensor plain = gate_up.contiguous();
  auto sizes = gate_up.sizes().vec();
  sizes.back() = n;
  Tensor out = at::empty(sizes, gate_up.options());
  with_type(gate_up, "silu_mul", [&]<class T>(T) {
    for_rows(n ? out.numel() / n : 0, out.numel() * 4,
             [&](int64_t r) { gated_row<A>(data<T>(plain) + r * 2 * n, n, data<T>(out) + r * n); });
  });
  return out;
}

// cos or sin as floats [tokens, width].
Tensor angles(const Tensor& t, int64_t tokens, int64_t head_dim) {
  const Tensor wide = t.reshape({-1, t.size(-1)}).to(at::kFloat).contiguous();
  TORCH_CHECK(wide.size(0) == tokens && wide.size(1) <= head_dim && wide.size(1) % 2 == 0,
              "rotary - cos and sin must be [", tokens, ", R] with even R <= ", head_dim, " - got ", t.sizes(),
              " - pass one row per token");
  return wide;
}

void rotary(const Tensor& q, const Tensor& k, const Tensor& cos, const Tensor& sin) {
  const int64_t tokens = q.size(0);
  const Tensor c = angles(cos, tokens, q.size(2)), s = angles(sin, tokens, q.size(2));
  const int64_t width = c.size(1);
  with_type(q, "rotary", [&]<class T>(T) {
    for (const Tensor& x : {q, k}) {
      T* first = heads<T>(x, "rotary");
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t h = 0; h < x.size(1); ++h) {
          rotate_head(first + t * x.stride(0) + h * x.size(2), c.data_ptr<float>() + t * width,
                      s.data_ptr<float>() + t * width, width);
        }
      }
    }
  });
}

void write_kv(const Tensor& k, const Tensor& v, const Tensor& k_pool, const Tensor& v_pool, const Tensor& slots) {
  const int64_t *slot = indices<int64_t>(slots, "write_kv"), head_dim = k.size(2);
  TORCH_CHECK(slots.numel() == k.size(0), "write_kv - one slot per token - got ", slots.numel(), " for ", k.size(0),
              " tokens - pass the slots of this batch");
  check_slots(slot, slots.numel(), k_pool);
  with_type(k, "write_kv", [&]<class T>(T) {
    const Pool<T> keys = pool<T>(k_pool, k.size(1), head_dim), values = pool<T>(v_pool, k.size(1), head_dim);
    const T *from_k = heads<T>(k, "write_kv"), *from_v = heads<T>(v, "write_kv");
    for (int64_t t = 0; t < k.size(0); ++t) {
      for (int64_t h = 0; h < k.size(1); ++h) {
        keys.write(slot[t], h, from_k + t * k.stride(0) + h * head_dim, head_dim);
        values.write(slot[t], h, from_v + t * v.stride(0) + h * head_dim, head_dim);
      }
    }
  });
}

Tensor paged_attention(const Tensor& q, const Tensor& k_pool, const Tensor& v_pool, const Tensor& query_starts,
                       const Tensor& context_lens, const Tensor& block_tables, double scale, int64_t sliding_window,
                       double softcap) {
  TORCH_CHECK(q.dim() == 3, "paged_attention - q must be [tokens, heads, head_dim] - got ", q.sizes(), " - view it so");
  const AttentionShape shape{q.size(1), k_pool.size(1), q.size(2), float(scale), sliding_window, float(softcap)};
  check_shape(shape);
  const Ragged batch = ragged(query_starts, context_lens, block_tables, q.size(0));
  check_places(batch, k_pool);
  Tensor out = at::empty(q.sizes(), q.options());
  with_type(q, "paged_attention", [&]<class T>(T) {
    const Attention<T> a{heads<T>(q, "paged_attention"), q.stride(0), pool<T>(k_pool, shape.num_kv_heads, shape.head_dim),
                         pool<T>(v_pool, shape.num_kv_heads, shape.head_dim), data<T>(out),
                         shape.num_heads * shape.head_dim, batch, shape};
    const auto tasks = attention_tasks(batch, shape);
    const int64_t work = int64_t(tasks.size()) * shape.head_dim * 256;
    in_parallel(threads_for(work, at::get_num_threads()), 1, [&](Team team) {
      team.each(tasks.size(), [&](Range which) { attend<T>(a, tasks, which); }, 1);
    });
  });
  return out;
}

using MaybeTensor = std::optional<Tensor>;

std::shared_ptr<LayerWeights> make_layer(const Tensor& input_norm, const Tensor& post_attention_norm, Weight qkv,
                                         Weight output, Weight gate_up, Weight down, int64_t num_heads,
                                         int64_t num_kv_heads, int64_t head_dim, double scale, double eps,
                                         const MaybeTensor& qkv_bias, const MaybeTensor& output_bias,
                                         const MaybeTensor& gate_up_bias, const MaybeTensor& down_bias,
                                         const MaybeTensor& q_norm, const MaybeTensor& k_norm,
                                         const MaybeTensor& attention_out_norm, const MaybeTensor& mlp_out_norm,
                                         int64_t sliding_window, double softcap, double norm_offset, bool silu) {
  auto w = std::make_shared<LayerWeights>();
  const auto norm = [&](const MaybeTensor& t) { return floats(t, float(norm_offset)); };
  w->shape = {num_heads, num_kv_heads, head_dim, float(scale), sliding_window, float(softcap)};
  check_shape(w->shape);
  const int64_t width = qkv->num_inputs;
  TORCH_CHECK(qkv->num_outputs == (num_heads + 2 * num_kv_heads) * head_dim &&
                  output->num_inputs == num_heads * head_dim && output->num_outputs == width &&
                  gate_up->num_inputs == width && gate_up->num_outputs == 2 * down->num_inputs &&
                  down->num_outputs == width && input_norm.numel() == width && post_attention_norm.numel() == width,
              "decoder_layer - the shapes of its weights must agree - got qkv ", qkv->num_outputs, "x", width,
              ", output ", output->num_outputs, "x", output->num_inputs, ", gate_up ", gate_up->num_outputs, "x",
              gate_up->num_inputs, ", down ", down->num_outputs, "x", down->num_inputs, " for ", num_heads, "+",
              num_kv_heads, " heads of ", head_dim, " - pack the projections of one layer");
  w->input_norm = norm(input_norm);
  w->post_attention_norm = norm(post_attention_norm);
  w->q_norm = norm(q_norm);
  w->k_norm = norm(k_norm);
  w->attention_out_norm = norm(attention_out_norm);
  w->mlp_out_norm = norm(mlp_out_norm);
  w->qkv_bias = bias_of(qkv_bias, *qkv);
  w->output_bias = bias_of(output_bias, *output);
  w->gate_up_bias = bias_of(gate_up_bias, *gate_up);
  w->down_bias = bias_of(down_bias, *down);
  w->eps = float(eps);
  w->activation = silu ? Activation::silu : Activation::gelu_tanh;
  w->qkv = std::move(qkv), w->output = std::move(output), w->gate_up = std::move(gate_up), w->down = std::move(down);
  return w;
}

Tensor run_layers(const Tensor& hidden, const std::vector<std::shared_ptr<LayerWeights>>& layers,
                  const std::vector<Tensor>& k_pools, const std::vector<Tensor>& v_pools, const Tensor& cos,
                  const Tensor& sin, const Tensor& query_starts, const Tensor& context_lens, const Tensor& block_tables,
                  const Tensor& slots) {
  Tensor out = hidden.clone(at::MemoryFormat::Contiguous);
  if (layers.empty() || hidden.size(0) == 0) return out;
  TORCH_CHECK(k_pools.size() == layers.size() && v_pools.size() == layers.size(),
              "decoder_layers - one pair of pools per layer - got ", k_pools.size(), " and ", v_pools.size(), " for ",
              layers.size(), " layers - pass the pools of this range");
  const AttentionShape& shape = layers[0]->shape;
  const int64_t count = hidden.size(0);
  TORCH_CHECK(hidden.dim() == 2 && hidden.size(1) == layers[0]->qkv->num_inputs && slots.numel() == count,
              "decoder_layers - hidden must be [tokens, ", layers[0]->qkv->num_inputs, "] with one slot per token - got ",
              hidden.sizes(), " and ", slots.numel(), " slots - pass the tokens of this batch");
  const Tensor c = angles(cos, count, shape.head_dim), s = angles(sin, count, shape.head_dim);
  const StepTokens tokens{count, c.data_ptr<float>(), s.data_ptr<float>(), c.size(1),
                          indices<int64_t>(slots, "decoder_layers"), ragged(query_starts, context_lens, block_tables, count)};
  for (const auto& pools : {k_pools, v_pools}) {
    for (const Tensor& p : pools) {
      TORCH_CHECK(p.sizes() == k_pools[0].sizes(), "decoder_layers - all pools must have one shape - got ", p.sizes(),
                  " and ", k_pools[0].sizes(), " - allocate them alike");
    }
  }
  std::vector<const LayerWeights*> weights;
  for (const auto& layer : layers) {
    TORCH_CHECK(layer->qkv->num_outputs == layers[0]->qkv->num_outputs &&
                    layer->shape.num_kv_heads == shape.num_kv_heads && layer->shape.head_dim == shape.head_dim &&
                    layer->down->num_inputs == layers[0]->down->num_inputs,
                "decoder_layers - the layers of a range must have one shape - got two - run them one by one");
    weights.push_back(layer.get());
  }
  with_type(hidden, "decoder_layers", [&]<class T>(T) {
    std::vector<LayerPools<T>> pools;  // checked before the places within them are
    for (size_t i = 0; i < layers.size(); ++i) {
      pools.push_back({pool<T>(k_pools[i], shape.num_kv_heads, shape.head_dim),
                       pool<T>(v_pools[i], shape.num_kv_heads, shape.head_dim)});
    }
    check_places(tokens.batch, k_pools[0]);
    check_slots(tokens.slots, count, k_pools[0]);
    decoder_layers<T>(weights, pools, tokens, data<T>(out), at::get_num_threads());
  });
  return out;
}

const char* kind_name(const PackedWeight& w) {
  return std::find_if(std::begin(kKinds), std::end(kKinds), [&](auto& k) { return k.second == w.kind; })->first;
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  using NoLock = py::call_guard<py::gil_scoped_release>;
  py::class_<PackedWeight, Weight>(m, "PackedWeight")
      .def_readonly("num_outputs", &PackedWeight::num_outputs)
      .def_readonly("num_inputs", &PackedWeight::num_inputs)
      .def_property_readonly("kind", &kind_name)
      .def_property_readonly("num_bytes", [](const PackedWeight& w) { return w.data.size(); });
  py::class_<LayerWeights, std::shared_ptr<LayerWeights>>(m, "LayerWeights");
  m.def("pack", &pack_weight, NoLock());
  m.def("linear", &linear_, NoLock());
  m.def("argmax_linear", &argmax_linear, NoLock());
  m.def("rms_norm", &rms_norm, NoLock());
  m.def("silu_mul", &gated<Activation::silu>, NoLock());
  m.def("gelu_tanh_mul", &gated<Activation::gelu_tanh>, NoLock());
  m.def("rotary", &rotary, NoLock());
  m.def("write_kv", &write_kv, NoLock());
  m.def("paged_attention", &paged_attention, NoLock());
  m.def("make_layer", &make_layer, NoLock());
  m.def("decoder_layers", &run_layers, NoLock());
}

}  // namespace headway
