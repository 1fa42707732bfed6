// The operations of a decoder in bfloat16: what Python calls. Everything is contiguous unless a
// stride is given, and computed in float32. Compiled for each instruction set, by its -m flags.

#include <algorithm>
#include <vector>

#include "argmax.h"
#include "attention.h"
#include "decoder.h"
#include "elementwise.h"
#include "quantized_kv.h"
#include "sample.h"
#include "team.h"
#include "weights.h"

#ifdef __AMX_BF16__
#include "row_major_linear.h"
#endif

#pragma GCC visibility push(default)

namespace {

// More chunks share the work more evenly, fewer leave longer runs of memory.
constexpr int64_t CHUNKS_A_THREAD = 8;

// As many elements as one thread has done before another has begun.
constexpr int64_t ELEMENTS_A_CHUNK = 32768;

int64_t rows_of(int64_t size) { return ELEMENTS_A_CHUNK / std::max<int64_t>(size, 1) + 1; }

}  // namespace

// Whether the operating system lets this process use the instructions it was compiled for.
extern "C" int llmbench_usable() {
#ifdef __AMX_BF16__
  return tiles::granted();
#else
  return 1;
#endif
}

// x [m, k], y [m, n], as weights.h says; m, n, k >= 1.
extern "C" void llmbench_linear(const Weights* weights, const bf16* x, bf16* y, int64_t m,
                                int threads, Parallel parallel) {
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  const Weights& w = *weights;
  thread_local std::vector<Line> room;
  const int64_t bytes = prepared_bytes(w, m), columns = column_chunk(w, m);
  if (bytes > (int64_t)(room.size() * sizeof(Line))) room.resize(bytes / sizeof(Line) + 1);
  void* prepared = room.data();
  if (bytes) {
    share({threads, parallel}, m, rows_of(w.k), [&](int64_t first, int64_t last) {
      prepare(w, x, m, prepared, first, last);
    });
  }
  const int64_t chunk = std::max<int64_t>(1, w.n / columns / (threads * CHUNKS_A_THREAD)) * columns;
  share({threads, parallel}, w.n, chunk, [&](int64_t first, int64_t last) {
    multiply(w, x, prepared, m, y, first, last);
  });
}

#ifdef __AMX_BF16__
// x [m, k], w [n, k], bias [n] or null, y [m, n]; m, n >= 1.
extern "C" void llmbench_row_major_linear(const bf16* x, const bf16* w, const bf16* bias, bf16* y,
                                          int64_t m, int64_t n, int64_t k, int threads,
                                          Parallel parallel) {
  row_major_linear({x, w, bias, y, m, n, k}, {threads, parallel});
}
#endif

// What a batch's calls, one a layer, have in common; as AttentionOf says.
struct AttentionCall {
  const int64_t *tables, *lengths, *starts;
  int64_t table_stride, page_size, page_unit, sequences;
  int64_t kv_heads, group, head_dim, window, q_stride;
  float scale;
  int32_t wide;   // activations are float32, and not bfloat16
  int32_t codes;  // the cache holds as activations are: 0, int8: 1, e4m3: 2
};

namespace {

template <class E>
void attend(const AttentionCall& c, const void* q, const void* k, const void* v,
            const bf16* k_scales, const bf16* v_scales, void* out, Threads threads) {
  const AttentionOf<E> a{(const E*)q, c.q_stride,  (E*)out,   c.tables,   c.table_stride,
                         c.page_size, c.page_unit, c.lengths, c.kv_heads, c.group,
                         c.head_dim,  c.window,    c.scale,   c.starts};
  const auto *k_codes = (const uint8_t*)k, *v_codes = (const uint8_t*)v;
  if (c.codes == 0) {
    attention::attend_all(a, attention::Plain<E>{(const E*)k, (const E*)v}, c.sequences, threads);
  } else if (c.codes == 1) {
    const quantized::Coded<quantized::Int8> cache{k_codes, v_codes, k_scales, v_scales};
    attention::attend_all(a, cache, c.sequences, threads);
  } else {
    const quantized::Coded<quantized::E4M3> cache{k_codes, v_codes, k_scales, v_scales};
    attention::attend_all(a, cache, c.sequences, threads);
  }
}

}  // namespace

// head_dim a multiple of 16. k_scales, v_scales: where the cache holds codes.
extern "C" void llmbench_attention(const AttentionCall* call, const void* q, const void* k,
                                   const void* v, const bf16* k_scales, const bf16* v_scales,
                                   void* out, int threads, Parallel parallel) {
  const auto compute = call->wide ? attend<float> : attend<bf16>;
  compute(*call, q, k, v, k_scales, v_scales, out, {threads, parallel});
}

// x [tokens, heads, head_dim], its tokens x_stride apart, to codes [slots, heads, head_dim] and
// scales [slots, heads] at slots[token]; int8, or e4m3 if that is not 0.
extern "C" void llmbench_quantized_write(const bf16* x, int64_t x_stride, uint8_t* codes,
                                         bf16* scales, int e4m3, const int64_t* slots,
                                         int64_t tokens, int64_t heads, int64_t head_dim,
                                         int threads, Parallel parallel) {
  const auto quantize =
      e4m3 ? quantized::quantize<quantized::E4M3> : quantized::quantize<quantized::Int8>;
  share({threads, parallel}, tokens, rows_of(heads * head_dim), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t to = slots[t] * heads + h;
        quantize(x + t * x_stride + h * head_dim, codes + to * head_dim, scales + to, head_dim);
      }
    }
  });
}

// x, y [rows, size], weight [size].
extern "C" void llmbench_rms_norm(const bf16* x, const bf16* weight, bf16* y, int64_t rows,
                                  int64_t size, float eps, int threads, Parallel parallel) {
  share({threads, parallel}, rows, rows_of(size), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) rms_norm(x + r * size, weight, y + r * size, size, eps);
  });
}

// x, total, y [rows, size]; total = x + total, y its norm; y may be x.
extern "C" void llmbench_add_rms_norm(const bf16* x, bf16* total, const bf16* weight, bf16* y,
                                      int64_t rows, int64_t size, float eps, int threads,
                                      Parallel parallel) {
  share({threads, parallel}, rows, rows_of(size), [&](int64_t first, int64_t last) {
    for (int64_t at = first * size; at < last * size; at += size) {
      add_rms_norm(x + at, total + at, weight, y + at, size, eps);
    }
  });
}

// gate_up [rows, 2 · size], y [rows, size].
extern "C" void llmbench_silu_mul(const bf16* gate_up, bf16* y, int64_t rows, int64_t size,
                                  int threads, Parallel parallel) {
  share({threads, parallel}, rows, rows_of(2 * size), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const bf16* gate = gate_up + 2 * r * size;
      silu_mul(gate, gate + size, y + r * size, size);
    }
  });
}

// x [tokens, heads, 2 · half], its tokens x_stride apart; cos, sin [tokens, half]; y as x.
extern "C" void llmbench_rope(const bf16* x, int64_t x_stride, const bf16* cos, const bf16* sin,
                              bf16* y, int64_t tokens, int64_t heads, int64_t half, int threads,
                              Parallel parallel) {
  const int64_t size = 2 * half;
  share({threads, parallel}, tokens, rows_of(heads * size), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        rope(x + t * x_stride + h * size, cos + t * half, sin + t * half,
             y + (t * heads + h) * size, half);
      }
    }
  });
}

// qkv [tokens, heads + 2 · kv_heads, 2 · half], its queries rotated where they lie; keys and values
// to caches [slots, kv_heads, 2 · half] at slots[token]. As the struct Rotation says.
extern "C" void llmbench_rope_cache_write(bf16* qkv, const bf16* q_norm, const bf16* k_norm,
                                          float eps, const bf16* cos, const bf16* sin, bf16* k,
                                          bf16* v, const int64_t* slots, int64_t tokens,
                                          int64_t heads, int64_t kv_heads, int64_t half,
                                          int threads, Parallel parallel) {
  const Rotation rotation{q_norm, k_norm, eps, cos, sin, heads, kv_heads, half};
  const int64_t slot = kv_heads * 2 * half, row = (heads + 2 * kv_heads) * 2 * half;
  share({threads, parallel}, tokens, rows_of(row), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      rope_cache_write(rotation, t, qkv + t * row, k + slots[t] * slot, v + slots[t] * slot);
    }
  });
}

// x [rows, size]; places [rows].
extern "C" void llmbench_argmax(const bf16* x, int64_t* places, int64_t rows, int64_t size,
                                int threads, Parallel parallel) {
  share({threads, parallel}, rows, rows_of(size), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) places[r] = argmax(x + r * size, size);
  });
}

namespace {

template <class E>
void sample(const E* x, int64_t stride, const float* temperature, const int32_t* top_k,
            const float* top_p, const float* min_p, const float* uniform, int64_t* tokens,
            int64_t rows, int64_t size, Threads threads) {
  share(threads, rows, rows_of(size), [&](int64_t first, int64_t last) {
    thread_local sampling::Room room;
    for (int64_t r = first; r < last; ++r) {
      const sampling::Request asked{temperature[r], top_k ? top_k[r] : 0, top_p ? top_p[r] : 1,
                                    min_p ? min_p[r] : 0, uniform[r]};
      tokens[r] = sampling::sample(x + r * stride, size, asked, room);
    }
  });
}

}  // namespace

// x [rows, size], its rows x_stride apart, float32 if wide and else bfloat16; size >= 1.
// temperature, uniform and, where they are given, top_k, top_p and min_p [rows]; tokens [rows].
extern "C" void llmbench_sample(const void* x, int64_t x_stride, int wide,
                                const float* temperature, const int32_t* top_k,
                                const float* top_p, const float* min_p, const float* uniform,
                                int64_t* tokens, int64_t rows, int64_t size, int threads,
                                Parallel parallel) {
  const Threads team{threads, parallel};
  if (wide) {
    sample((const float*)x, x_stride, temperature, top_k, top_p, min_p, uniform, tokens, rows, size,
           team);
  } else {
    sample((const bf16*)x, x_stride, temperature, top_k, top_p, min_p, uniform, tokens, rows, size,
           team);
  }
}

// Bytes of scratch that a step of so many tokens needs.
extern "C" int64_t llmbench_decoder_scratch_bytes(const decoder::Model* model, int64_t tokens) {
  return decoder::scratch_bytes(*model, tokens);
}

// As the structs say.
extern "C" void llmbench_decoder_step(const decoder::Model* model, decoder::Step* step, int threads,
                                      Parallel parallel) {
  decoder::decode(*model, *step, {threads, parallel});
}

#pragma GCC visibility pop
