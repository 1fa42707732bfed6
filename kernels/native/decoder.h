// A decode step of a Llama-family model: every layer, the last norm and the output projection, by
// threads that meet between phases.
//
// The functions are those that the single operations are made of, and so is every rounding: between
// two of them stands bfloat16. Source of the architecture: Touvron et al., "LLaMA", 2023.

#pragma once

#include <chrono>
#include <cstring>
#include <new>

#include "argmax.h"
#include "attention.h"
#include "decoder_cache.h"
#include "elementwise.h"
#include "screen.h"
#include "team.h"
#include "weights.h"

namespace decoder {

struct Layer {
  const bf16 *input_norm, *post_norm;  // [hidden]
  const bf16 *q_norm, *k_norm;         // [head_dim], or null
  Weights qkv, o, gate_up, down;
};

struct Model {
  const Layer* layers;
  const bf16* embedding;    // [vocab, hidden]
  const bf16 *cos, *sin;    // [positions, head_dim / 2]
  const bf16* norm;         // [hidden]
  Weights lm_head;  // hidden -> vocab
  Screen screen;    // of lm_head
  int64_t layer_count, hidden, heads, kv_heads, head_dim, intermediate, window;
  float eps, scale;
};

// One new token a sequence; the cache as `Attention` says.
struct Step {
  int64_t tokens;
  const int64_t *token_ids, *positions, *slots;  // [tokens]
  Caches caches;
  const int64_t* tables;
  int64_t table_stride, page_size, page_unit;
  const int64_t* lengths;
  const int64_t* logit_rows;  // the tokens whose logits are wanted
  int64_t logit_count;
  bf16* logits;  // [logit_count, vocab]
  // Out, [logit_count]: where each row's largest logit is, as `argmax`. Null if that is not wanted; if
  // it is, nothing else of the logits is, and those below the largest may be left at -infinity.
  int64_t* likeliest;
  void* scratch;
  double attention_s;  // out: from the end of each projection to q, k and v to that of its attention
};

// What passes between phases, carved out of a step's scratch: [tokens, …] each.
struct Activations {
  bf16 *hidden, *normed, *qkv, *q, *context, *gate_up, *activated, *update;
  void* prepared;
  Largest* largest;  // of rows of logits, while they are looked for
  Argmax* argmax;    // of rows of logits
  int64_t bytes;
};

inline Activations activations(const Model& m, int64_t tokens, void* scratch) {
  char* const begin = (char*)scratch;
  char* at = begin;
  auto take = [&](int64_t bytes) {
    char* const taken = at;
    at += (bytes + 63) / 64 * 64;
    return taken;
  };
  auto rows = [&](int64_t size) { return (bf16*)take(tokens * size * (int64_t)sizeof(bf16)); };
  Activations a;
  a.hidden = rows(m.hidden);
  a.normed = rows(m.hidden);
  a.qkv = rows((m.heads + 2 * m.kv_heads) * m.head_dim);
  a.q = rows(m.heads * m.head_dim);
  a.context = rows(m.heads * m.head_dim);
  a.gate_up = rows(2 * m.intermediate);
  a.activated = rows(m.intermediate);
  a.update = rows(m.hidden);
  a.largest = (Largest*)take(m.screen.most_rows * (int64_t)sizeof(Largest));
  a.argmax = (Argmax*)take(tokens * (int64_t)sizeof(Argmax));
  int64_t prepared = prepared_bytes(m.lm_head, tokens);
  if (m.screen.most_rows) {
    prepared = std::max(prepared, prepared_bytes(m.screen.codes, m.screen.most_rows));
  }
  for (int64_t i = 0; i < m.layer_count; ++i) {
    for (const Weights* w :
         {&m.layers[i].qkv, &m.layers[i].o, &m.layers[i].gate_up, &m.layers[i].down}) {
      prepared = std::max(prepared, prepared_bytes(*w, tokens));
    }
  }
  a.prepared = take(prepared);
  a.bytes = at - begin;
  return a;
}

inline int64_t scratch_bytes(const Model& m, int64_t tokens) {
  return activations(m, tokens, nullptr).bytes;
}

inline Attention attention_of(const Model& m, const Step& step, const Activations& a) {
  Attention attention{};
  attention.q = a.q;
  attention.q_stride = m.heads * m.head_dim;
  attention.out = a.context;
  attention.tables = step.tables;
  attention.table_stride = step.table_stride;
  attention.page_size = step.page_size;
  attention.page_unit = step.page_unit;
  attention.lengths = step.lengths;
  attention.kv_heads = m.kv_heads;
  attention.group = m.heads / m.kv_heads;
  attention.head_dim = m.head_dim;
  attention.window = m.window;
  attention.scale = m.scale;
  return attention;
}

// What one thread does of a step. work: of its attention, planned.
class StepThread {
 public:
  StepThread(const Model& model, Step& step, const Activations& activations,
             attention::Work& work, Team& team)
      : m_(model),
        step_(step),
        a_(activations),
        attention_(attention_of(model, step, activations)),
        work_(work),
        team_(team) {}

  void operator()() {
    embed();
    for (int64_t i = 0; i < m_.layer_count; ++i) {
      const Layer& layer = m_.layers[i];
      project(layer.qkv, a_.normed, step_.tokens, a_.qkv, made_all,
              [&] { step_.attention_s -= now_s(); });
      step_.caches.with_layer(i, [&](const auto& cache) { attend(layer, cache); });
      if (prepared_bytes(layer.o, step_.tokens)) each_row(layer.o, a_.context, [](int64_t) {});
      project(layer.o, a_.context, step_.tokens, a_.update);
      each_row(layer.gate_up, a_.normed, [&](int64_t t) { add_and_norm(t, layer.post_norm); });
      project(layer.gate_up, a_.normed, step_.tokens, a_.gate_up);
      each_row(layer.down, a_.activated, [&](int64_t t) { activate(t); });
      project(layer.down, a_.activated, step_.tokens, a_.update);
      if (i + 1 < m_.layer_count) {
        const Layer& next = m_.layers[i + 1];
        each_row(next.qkv, a_.normed, [&](int64_t t) { add_and_norm(t, next.input_norm); });
      }
    }
    head();
  }

 private:
  bf16* row(bf16* rows, int64_t t, int64_t size) const { return rows + t * size; }

  // body(t) for each token, then what `next` needs of the row that it made.
  template <class Body>
  void each_row(const Weights& next, const bf16* x, const Body& body) {
    team_.share_evenly(step_.tokens, [&](int64_t first, int64_t last) {
      for (int64_t t = first; t < last; ++t) body(t);
      prepare(next, x, step_.tokens, a_.prepared, first, last);
    });
  }

  static void made_all(int64_t, int64_t) {}

  // y [rows, n] from x [rows, k], which is prepared; then made(first, last) of columns that are there,
  // and ended() when all are.
  template <class Made = void (*)(int64_t, int64_t), class Ended = void (*)()>
  void project(const Weights& w, const bf16* x, int64_t rows, bf16* y, const Made& made = made_all,
               const Ended& ended = pass) {
    const int64_t columns = rows ? w.n : 0;
    auto run = [&](int64_t first, int64_t last) {
      multiply(w, x, a_.prepared, rows, y, first, last);
      made(first, last);
    };
    team_.share(columns, column_chunk(w, rows), MOST_COLUMNS, run, ended);
  }

  static double now_s() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
  }

  void embed() {
    const Layer& layer = m_.layers[0];
    each_row(layer.qkv, a_.normed, [&](int64_t t) {
      bf16* hidden = row(a_.hidden, t, m_.hidden);
      const bf16* embedded = m_.embedding + step_.token_ids[t] * m_.hidden;
      std::copy(embedded, embedded + m_.hidden, hidden);
      rms_norm(hidden, layer.input_norm, row(a_.normed, t, m_.hidden), m_.hidden, m_.eps);
    });
  }

  // All keys and values are written before any is read, by two phases and not one: a token may
  // attend to those of another sequence that are written in this very step (a shared prefix).
  template <class Cache>
  void attend(const Layer& layer, const Cache& cache) {
    team_.share_evenly(step_.tokens, [&](int64_t first, int64_t last) {
      for (int64_t t = first; t < last; ++t) rotate_into_cache(layer, t, cache);
    });
    auto run = [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        work_.attend(attention_, cache.reader(), i);
      }
    };
    // By whoever ends a phase: one thread's own time would count what it was away, or nothing.
    team_.share(work_.size(), 1, 1, run, [&] { step_.attention_s += now_s(); });
  }

  template <class Cache>
  void rotate_into_cache(const Layer& layer, int64_t t, const Cache& cache) {
    thread_local std::vector<bf16> key;
    const int64_t d = m_.head_dim;
    const bf16* q = row(a_.qkv, t, (m_.heads + 2 * m_.kv_heads) * d);
    const bf16 *k = q + m_.heads * d, *v = k + m_.kv_heads * d;
    for (int64_t h = 0; h < m_.heads; ++h) {
      rotate(q + h * d, layer.q_norm, t, row(a_.q, t, m_.heads * d) + h * d);
    }
    key.resize(d);
    for (int64_t h = 0; h < m_.kv_heads; ++h) {
      rotate(k + h * d, layer.k_norm, t, key.data());
      cache.write(step_.slots[t] * m_.kv_heads + h, key.data(), v + h * d, d);
    }
  }

  // One head of query or key, normed first where the model has a norm for it.
  void rotate(const bf16* x, const bf16* norm, int64_t t, bf16* y) {
    thread_local std::vector<bf16> normed;
    if (norm) {
      normed.resize(m_.head_dim);
      rms_norm(x, norm, normed.data(), m_.head_dim, m_.eps);
      x = normed.data();
    }
    const int64_t half = m_.head_dim / 2, angles = step_.positions[t] * half;
    rope(x, m_.cos + angles, m_.sin + angles, y, half);
  }

  // hidden += update; normed = norm(hidden).
  void add_and_norm(int64_t t, const bf16* norm) {
    bf16* hidden = row(a_.hidden, t, m_.hidden);
    add(row(a_.update, t, m_.hidden), hidden);
    rms_norm(hidden, norm, row(a_.normed, t, m_.hidden), m_.hidden, m_.eps);
  }

  void add(const bf16* x, bf16* total) const {
#pragma omp simd
    for (int64_t i = 0; i < m_.hidden; ++i) total[i] = narrow(widen(total[i]) + widen(x[i]));
  }

  void activate(int64_t t) {
    const bf16* gate = row(a_.gate_up, t, 2 * m_.intermediate);
    silu_mul(gate, gate + m_.intermediate, row(a_.activated, t, m_.intermediate), m_.intermediate);
  }

  // The last update and norm are needed only of the rows whose logits are wanted, maybe twice.
  void head() {
    const int64_t count = step_.logit_count;
    const bool screened = step_.likeliest && count <= m_.screen.most_rows;
    const Weights& first_map = screened ? m_.screen.codes : m_.lm_head;
    team_.share_evenly(count, [&](int64_t first, int64_t last) {
      thread_local std::vector<bf16> total;
      for (int64_t r = first; r < last; ++r) {
        const bf16* hidden = row(a_.hidden, step_.logit_rows[r], m_.hidden);
        total.assign(hidden, hidden + m_.hidden);
        add(row(a_.update, step_.logit_rows[r], m_.hidden), total.data());
        bf16* normed = row(a_.normed, r, m_.hidden);
        rms_norm(total.data(), m_.norm, normed, m_.hidden, m_.eps);
        new (a_.argmax + r) Argmax;
        if (screened) new (a_.largest + r) Largest(m_.screen, normed, m_.hidden);
      }
      prepare(first_map, a_.normed, count, a_.prepared, first, last);
    });
    if (screened) {
      find_largest(count);
    } else {
      project(m_.lm_head, a_.normed, count, step_.logits,
              [&](int64_t first, int64_t last) { learn_argmax(count, first, last); });
    }
    if (!step_.likeliest || !team_.leads()) return;
    for (int64_t r = 0; r < count; ++r) step_.likeliest[r] = a_.argmax[r].place();
  }

  // Of logits that this thread made.
  void learn_argmax(int64_t rows, int64_t first, int64_t last) {
    if (!step_.likeliest) return;
    for (int64_t r = 0; r < rows; ++r) {
      a_.argmax[r].learn(row(step_.logits, r, m_.lm_head.n), first, last);
    }
  }

  // Logits of the panels in which some row's largest may be, and -infinity elsewhere.
  void find_largest(int64_t rows) {
    const Weights& head = m_.lm_head;
    project(m_.screen.codes, a_.normed, rows, step_.logits, [&](int64_t first, int64_t last) {
      for (int64_t r = 0; r < rows; ++r) {
        a_.largest[r].learn(row(step_.logits, r, head.n), first, last);
      }
    });
    if (prepared_bytes(head, rows)) {
      team_.share_evenly(rows, [&](int64_t first, int64_t last) {
        prepare(head, a_.normed, rows, a_.prepared, first, last);
      });
    }
    team_.share(head.n, panels::COLUMNS, MOST_COLUMNS, [&](int64_t first, int64_t end) {
      for (; first < end; first += panels::COLUMNS) {
        const int64_t last = std::min(first + panels::COLUMNS, end);
        if (may_hold_largest(rows, first, last)) {
          multiply(head, a_.normed, a_.prepared, rows, step_.logits, first, last);
          learn_argmax(rows, first, last);
        } else {
          rule_out(rows, first, last);
        }
      }
    });
  }

  // Whether one of columns first … last may be the largest of some row.
  bool may_hold_largest(int64_t rows, int64_t first, int64_t last) const {
    for (int64_t r = 0; r < rows; ++r) {
      if (a_.largest[r].may_be_in(row(step_.logits, r, m_.lm_head.n), first, last)) return true;
    }
    return false;
  }

  void rule_out(int64_t rows, int64_t first, int64_t last) {
    for (int64_t r = 0; r < rows; ++r) {
      bf16* logits = row(step_.logits, r, m_.lm_head.n);
      std::fill(logits + first, logits + last, MINUS_INFINITY);
    }
  }

  // Of columns that a thread takes at once.
  static constexpr int64_t MOST_COLUMNS = 512;
  static constexpr bf16 MINUS_INFINITY = 0xff80;

  const Model& m_;
  Step& step_;
  const Activations& a_;
  const Attention attention_;
  attention::Work& work_;
  Team& team_;
};

// A whole step, by all threads.
inline void decode(const Model& model, Step& step, Threads threads) {
  thread_local attention::Work callers;
  attention::Work& work = callers;  // not that of the thread that uses it
  const Activations a = activations(model, step.tokens, step.scratch);
  work.plan(attention_of(model, step, a), step.tokens);
  together(threads, [&](Team& team) { StepThread(model, step, a, work, team)(); });
}

}  // namespace decoder
