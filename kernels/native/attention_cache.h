// What attention is asked, and how it reads the cache: a run of one head's keys and values at a time.

#pragma once

#include <algorithm>
#include <vector>

#include "bf16.h"
#include "simd.h"

// Token t of sequence i lies in slot tables[i][t / page_size] · page_unit + t % page_size of the
// caches. A page is what Python calls a block of a cache; a Block here is rows of queries. Pages are
// numbered (page_unit = page_size); a contiguous run is one page, longer than any sequence, that
// starts anywhere (page_unit = 1). E: bf16 or float, what activations are.
template <class E>
struct AttentionOf {
  const E* q;  // [tokens, kv_heads · group, head_dim], rows q_stride apart
  int64_t q_stride;
  E* out;  // [tokens, kv_heads · group, head_dim]
  const int64_t* tables;
  int64_t table_stride, page_size, page_unit;
  const int64_t* lengths;  // of sequences, their new tokens included
  int64_t kv_heads, group, head_dim;
  int64_t window;  // how many of the last tokens are seen
  float scale;
  // Sequence i's new tokens are starts[i] … starts[i + 1] of q. Null: one a sequence.
  const int64_t* starts = nullptr;

  int64_t first_token(int64_t sequence) const { return starts ? starts[sequence] : sequence; }
};
using Attention = AttentionOf<bf16>;

namespace attention {

constexpr int64_t SPLIT = 256;  // the most keys in a run

// What weights and values are multiplied as: as activations are, two at once, where the processor
// multiplies those.
#if defined(__AVX512BF16__)
template <class E>
using Factor = E;
#else
template <class E>
using Factor = float;
#endif

// Key t is at keys[t], times key_scales[t] if there are any; values alike.
template <class M>
struct Run {
  int64_t count;
  const M* keys[SPLIT];
  const M* values[SPLIT];
  const float *key_scales, *value_scales;
  std::vector<M> room;  // for what cannot be read where it lies
  const uint8_t *key_codes[SPLIT], *value_codes[SPLIT];
  float scale_room[2 * SPLIT];

  // Room for the keys and the values; the pointers are set.
  void widen(int64_t head_dim) {
    room.resize(2 * SPLIT * head_dim);
    for (int64_t t = 0; t < count; ++t) {
      keys[t] = room.data() + t * head_dim;
      values[t] = room.data() + (SPLIT + t) * head_dim;
    }
  }
};

// Tokens first … end of one KV head of a sequence.
struct Piece {
  int64_t sequence, head, first, end;

  int64_t count() const { return end - first; }
};

// body(t, slot) for the tokens of a piece, t from 0.
template <class E, class Body>
void each_slot(const AttentionOf<E>& a, const Piece& piece, const Body& body) {
  const int64_t* page = a.tables + piece.sequence * a.table_stride + piece.first / a.page_size;
  int64_t offset = piece.first % a.page_size;
  for (int64_t t = piece.first; t < piece.end; ++page, offset = 0) {
    const int64_t slot = *page * a.page_unit - t + offset;
    const int64_t until = std::min(piece.end, t + (a.page_size - offset));
    for (; t < until; ++t) body(t - piece.first, slot + t);
  }
}

// Caches k, v [slots, kv_heads, head_dim] that hold what activations are. `read` makes a run that can
// be read at once; `find` one whose keys and values can be read a PIECE at a time, those from t on
// after `load_keys` and `load_values`.
template <class E>
struct Plain {
  const E *k, *v;

  static constexpr int64_t PIECE = SPLIT;
  static constexpr bool IN_PLACE = true;

  void find(const AttentionOf<E>& a, const Piece& piece, Run<E>& run) const { read(a, piece, run); }

  void load_keys(int64_t, int64_t, Run<E>&) const {}
  void load_values(int64_t, int64_t, Run<E>&) const {}

  // Where they lie.
  void read(const AttentionOf<E>& a, const Piece& piece, Run<E>& run) const {
    run.count = piece.count();
    run.key_scales = run.value_scales = nullptr;
    each_slot(a, piece, [&](int64_t t, int64_t slot) {
      const int64_t at = (slot * a.kv_heads + piece.head) * a.head_dim;
      run.keys[t] = k + at;
      run.values[t] = v + at;
    });
  }

  // bfloat16, widened, for arithmetic in float32.
  template <class M>
  void read(const AttentionOf<E>& a, const Piece& piece, Run<M>& run) const {
    run.count = piece.count();
    run.key_scales = run.value_scales = nullptr;
    run.widen(a.head_dim);
    each_slot(a, piece, [&](int64_t t, int64_t slot) {
      const int64_t at = (slot * a.kv_heads + piece.head) * a.head_dim;
      for (int64_t d = 0; d < a.head_dim; d += LANES) {
        store((M*)run.keys[t] + d, load_wide(k + at + d));
        store((M*)run.values[t] + d, load_wide(v + at + d));
      }
    });
  }
};

// Query rows row0 … row0 + rows of one KV head of a sequence: row token · group + g is query head
// g of the group, of the sequence's new token `token`, whose position is past + token.
struct Block {
  int64_t sequence, head, row0, rows, past;
  int64_t first_key, end_key;  // that any of the rows sees
  int64_t splits = 1;          // of its keys
  int64_t partials = 0;        // where their results lie, if there are several
  int unfinished = 0;          // splits

  Piece split(int64_t s) const {
    const int64_t first = first_key + s * SPLIT;
    return {sequence, head, first, s + 1 < splits ? first + SPLIT : end_key};
  }
};

template <class E>
int64_t position(const AttentionOf<E>& a, const Block& b, int64_t row) {
  return b.past + (b.row0 + row) / a.group;
}

// Element 0 of a row's query, or of its result if rows are `stride` apart.
template <class E>
int64_t row_at(const AttentionOf<E>& a, const Block& b, int64_t row, int64_t stride) {
  const int64_t token = a.first_token(b.sequence) + (b.row0 + row) / a.group;
  return token * stride + (b.head * a.group + (b.row0 + row) % a.group) * a.head_dim;
}

// A partial result, a row: head_dim weighted sums of values, the largest score, the sum of weights
// e^((score - largest) · scale).
inline int64_t partial_stride(int64_t head_dim) { return head_dim + 2; }

// Less than any score, and finite: differences of two are numbers.
constexpr float LEAST = -1e38f;

}  // namespace attention
