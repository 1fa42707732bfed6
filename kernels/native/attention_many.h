// Many query rows, a prompt's mostly: vectors run across rows.
//
// Queries lie as columns, a vector of rows an element of the head. A key's element, read where it
// lies, meets them all: scores are [key, row], and what softmax needs of a row is found lane by
// lane, without a sum across any vector. Values meet the weights in the same way; results are
// turned once, at the end. Softmax is made as keys come (Milakov and Gimelshein, 2018; Dao et al.,
// "FlashAttention", 2022).
//
// M is what is multiplied: bf16, two elements at once, where the processor can; else float.

#pragma once

#include <limits>

#include "attention_cache.h"
#include "exponential.h"

namespace attention {

constexpr int64_t MANY = 64;  // rows at most
constexpr int64_t TILE = 64;  // keys at once
constexpr int64_t PAD = 8;    // keys are padded to, and a head is a multiple of

// Vectors of rows that one element of a key or value meets: as many as registers hold, with the
// sums of several keys.
constexpr int TOGETHER = LANES == 16 ? 4 : 2;

inline Sums broadcast_elements(const float* from) { return broadcast(*from); }

#if defined(__AVX512BF16__)
inline Pairs broadcast_elements(const bf16* from) { return broadcast(from); }
#endif

// Elements of M in a lane.
template <class M>
constexpr int DEPTH = 4 / (int)sizeof(M);

template <class M>
struct Room {
  Run<M> run;
  std::vector<M> q;        // [head_dim / DEPTH, width, DEPTH]
  std::vector<M> weights;  // [TILE / DEPTH, width, DEPTH]
  std::vector<M> values;   // [TILE / DEPTH, head_dim, DEPTH], where DEPTH is not 1
  std::vector<float> out;  // [head_dim, width]
  alignas(64) float scores[TILE * MANY];
  alignas(64) float most[MANY], sum[MANY], decay[MANY];
  int32_t last[MANY];  // key of the tile that a row sees
};

// scores[key][row] for N keys and V vectors of rows; `depth` steps along the head.
template <class M, int V, int N>
void score_tile(const M* q, const M* const* keys, int64_t depth, int64_t width, float* scores) {
  Sums sums[N][V];
  for (int n = 0; n < N; ++n) {
    for (int v = 0; v < V; ++v) sums[n][v] = zero();
  }
  for (int64_t i = 0; i < depth; ++i, q += width * DEPTH<M>) {
    decltype(load(q)) rows[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) rows[v] = load(q + v * LANES * DEPTH<M>);
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      const auto key = broadcast_elements(keys[n] + i * DEPTH<M>);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[n][v] = multiply_add(sums[n][v], rows[v], key);
    }
  }
  for (int n = 0; n < N; ++n) {
    for (int v = 0; v < V; ++v) store(scores + n * width + v * LANES, sums[n][v]);
  }
}

// out[d][row] = out[d][row] · decay[row] + weights[·][row] · values[·][d] for N elements d.
template <class M, int V, int N>
void mix_tile(const M* weights, const M* const* values, int64_t d, int64_t depth, int64_t width,
              const float* decay, float* out) {
  Sums sums[N][V];
  for (int n = 0; n < N; ++n) {
    for (int v = 0; v < V; ++v) {
      sums[n][v] = load(out + n * width + v * LANES) * load(decay + v * LANES);
    }
  }
  for (int64_t i = 0; i < depth; ++i, weights += width * DEPTH<M>) {
    const M* value = values[i] + d * DEPTH<M>;
    decltype(load(weights)) rows[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) rows[v] = load(weights + v * LANES * DEPTH<M>);
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      const auto element = broadcast_elements(value + n * DEPTH<M>);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[n][v] = multiply_add(sums[n][v], rows[v], element);
    }
  }
  for (int n = 0; n < N; ++n) {
    for (int v = 0; v < V; ++v) store(out + n * width + v * LANES, sums[n][v]);
  }
}

// body(vectors, first vector) with as many vectors at once as there are, up to TOGETHER.
template <class Body>
void each_vectors(int64_t vectors, const Body& body) {
  int64_t v = 0;
  for (; vectors - v >= TOGETHER; v += TOGETHER) {
    body(std::integral_constant<int, TOGETHER>(), v);
  }
  if constexpr (TOGETHER == 4) {
    if (vectors - v == 3) return body(std::integral_constant<int, 3>(), v);
    if (vectors - v == 2) return body(std::integral_constant<int, 2>(), v);
  }
  if (vectors - v == 1) body(std::integral_constant<int, 1>(), v);
}

// Keys or elements of a value whose sums the registers hold beside V vectors of rows.
template <int V>
constexpr int BESIDE = V * 8 <= TOGETHER * 4 ? 8 : 4;

template <class M>
void score(Room<M>& room, int64_t padded, int64_t head_dim, int64_t vectors) {
  const int64_t width = vectors * LANES;
  each_vectors(vectors, [&](auto v, int64_t first) {
    constexpr int V = decltype(v)::value, N = BESIDE<V>;
    for (int64_t t = 0; t < padded; t += N) {
      score_tile<M, V, N>(room.q.data() + first * LANES * DEPTH<M>, room.run.keys + t,
                          head_dim / DEPTH<M>, width, room.scores + t * width + first * LANES);
    }
  });
}

// Weights from scores, a vector of rows at a time; what came before fades by `decay`.
template <class M>
void weigh(Room<M>& room, int64_t padded, int64_t vectors, float scale) {
  const int64_t width = vectors * LANES;
  for (int64_t row = 0; row < width; row += LANES) {
    float* scores = room.scores + row;
    const Sums before = load(room.most + row);
    Sums most = before;
    for (int64_t t = 0; t < padded; ++t) most = larger(most, load(scores + t * width));
    const Sums decay = exponential((before - most) * scale);
    Sums sum = load(room.sum + row) * decay;
    auto weight = [&](int64_t t) {
      const Sums weight = exponential((load(scores + t * width) - most) * scale);
      sum += weight;
      if (!room.run.value_scales || t >= room.run.count) return weight;
      return weight * room.run.value_scales[t];
    };
    for (int64_t t = 0; t < padded; t += DEPTH<M>) {
      M* to = room.weights.data() + t * width + row * DEPTH<M>;
      if constexpr (DEPTH<M> == 1) {
        store(to, weight(t));
      } else {
        const Sums first = weight(t);
        store(to, pair_up(first, weight(t + 1)));
      }
    }
    store(room.most + row, most);
    store(room.sum + row, sum);
    store(room.decay + row, decay);
  }
}

template <class M>
void mix(Room<M>& room, int64_t padded, int64_t head_dim, int64_t vectors) {
  const int64_t width = vectors * LANES;
  const M* rows[TILE];
  const M* const* values = room.run.values;
  if constexpr (DEPTH<M> == 2) {
    // Neighbouring keys' values side by side.
    for (int64_t t = 0; t < padded; t += 2) {
      const M *first = values[t], *second = values[t + 1];
      M* to = room.values.data() + t * head_dim;
      for (int64_t d = 0; d < head_dim; ++d) {
        const uint32_t pair = first[d] | (uint32_t)second[d] << 16;
        std::memcpy(to + 2 * d, &pair, sizeof pair);
      }
      rows[t / 2] = to;
    }
    values = rows;
  }
  each_vectors(vectors, [&](auto v, int64_t first) {
    constexpr int V = decltype(v)::value, N = BESIDE<V>;
    for (int64_t d = 0; d < head_dim; d += N) {
      mix_tile<M, V, N>(room.weights.data() + first * LANES * DEPTH<M>, values, d,
                        padded / DEPTH<M>, width, room.decay + first * LANES,
                        room.out.data() + d * width + first * LANES);
    }
  });
}

// Queries as columns. Missing rows are the last one again.
template <class E>
void pack(const AttentionOf<E>& a, const Block& b, int64_t width, Factor<E>* to) {
  constexpr int depth = DEPTH<Factor<E>>;
  for (int64_t row = 0; row < width; row += LANES) {
    const E* q[LANES];
    for (int i = 0; i < LANES; ++i) {
      q[i] = a.q + row_at(a, b, std::min(row + i, b.rows - 1), a.q_stride);
    }
    Factor<E>* columns = to + row * depth;
    // Lanes are moved, never computed with: a pair of bfloat16 is as good as a float.
    int64_t d = 0;
    for (; d + LANES * depth <= a.head_dim; d += LANES * depth) {
      Sums tile[LANES];
      for (int i = 0; i < LANES; ++i) {
        tile[i] = depth == 1 ? load_wide(q[i] + d) : load((const float*)(q[i] + d));
      }
      transpose(tile);
      for (int i = 0; i < LANES; ++i) {
        store((float*)(columns + (d + i * depth) * width), tile[i]);
      }
    }
    for (; d < a.head_dim; d += depth) {
      for (int i = 0; i < LANES; ++i) {
        Factor<E>* const column = columns + d * width + i * depth;
        for (int e = 0; e < depth; ++e) put(column[e], q[i][d + e]);
      }
    }
  }
}

// Results, [head_dim, width], to partial results.
template <class M>
void unpack(const Room<M>& room, int64_t rows, int64_t head_dim, int64_t width, float* partial) {
  const int64_t stride = partial_stride(head_dim);
  for (int64_t row = 0; row < rows; row += LANES) {
    const int64_t count = std::min<int64_t>(LANES, rows - row);
    for (int64_t d = 0; d < head_dim; d += LANES) {
      Sums tile[LANES];
      for (int i = 0; i < LANES; ++i) tile[i] = load(room.out.data() + (d + i) * width + row);
      transpose(tile);
      for (int64_t i = 0; i < count; ++i) store(partial + (row + i) * stride + d, tile[i]);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    partial[r * stride + head_dim] = room.most[r];
    partial[r * stride + head_dim + 1] = room.sum[r];
  }
}

// What rows do not see of the tile's keys, which begin at `first`: the future, what has left the
// window, and padding.
template <class M, class E>
void hide(const AttentionOf<E>& a, const Block& b, int64_t first, int64_t padded, int64_t width,
          Room<M>& room) {
  const float unseen = -std::numeric_limits<float>::infinity();
  const int64_t count = room.run.count;
  const int64_t earliest = position(a, b, 0), latest = position(a, b, b.rows - 1);
  std::fill(room.scores + count * width, room.scores + padded * width, unseen);
  if (first + count - 1 <= earliest && first > latest - a.window) return;
  for (int64_t r = 0; r < width; ++r) {
    room.last[r] = (int32_t)(position(a, b, std::min(r, b.rows - 1)) - first);
  }
  const int32_t window = (int32_t)std::min<int64_t>(a.window, INT32_MAX);
  for (int32_t t = 0; t < (int32_t)count; ++t) {
    float* scores = room.scores + t * width;
#pragma omp simd
    for (int64_t r = 0; r < width; ++r) {
      const bool seen = (t <= room.last[r]) & (room.last[r] - t < window);
      scores[r] = seen ? scores[r] : unseen;
    }
  }
}

// A block's rows, MANY at most, with a piece of its keys, to partial results.
template <class E, class Cache>
void attend_many(const AttentionOf<E>& a, const Cache& cache, const Block& b, const Piece& piece,
                 float* partial) {
  using M = Factor<E>;
  static_assert(TILE <= Cache::PIECE);
  thread_local Room<M> room;
  const int64_t vectors = (b.rows + LANES - 1) / LANES, width = vectors * LANES;
  room.q.resize(a.head_dim * width);
  room.weights.resize(TILE * width);
  if (DEPTH<M> != 1) room.values.resize(TILE * a.head_dim);
  room.out.assign(a.head_dim * width, 0);
  std::fill_n(room.most, width, LEAST);
  std::fill_n(room.sum, width, 0.0f);
  pack(a, b, width, room.q.data());
  Run<M>& run = room.run;
  for (int64_t first = piece.first; first < piece.end; first += TILE) {
    const int64_t end = std::min(first + TILE, piece.end);
    cache.read(a, Piece{piece.sequence, piece.head, first, end}, run);
    const int64_t padded = (run.count + PAD - 1) / PAD * PAD;
    for (int64_t t = run.count; t < padded; ++t) {
      run.keys[t] = run.keys[run.count - 1];
      run.values[t] = run.values[run.count - 1];
    }
    score(room, padded, a.head_dim, vectors);
    if (run.key_scales) {
      for (int64_t t = 0; t < run.count; ++t) {
        for (int64_t r = 0; r < width; ++r) room.scores[t * width + r] *= run.key_scales[t];
      }
    }
    hide(a, b, first, padded, width, room);
    weigh(room, padded, vectors, a.scale);
    mix(room, padded, a.head_dim, vectors);
  }
  unpack(room, b.rows, a.head_dim, width, partial);
}

}  // namespace attention
