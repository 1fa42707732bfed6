// Few query rows, a decode's mostly: vectors run along the head, a dot product a key and row.

#pragma once

#include <limits>

#include "attention_cache.h"
#include "attention_mix.h"
#include "exponential.h"

namespace attention {

constexpr int64_t FEW = 8;  // rows at most

template <class E>
constexpr int STEP_OF = sizeof(E) == sizeof(bf16) ? STEP : LANES;

constexpr int64_t LINE = 64;  // bytes of memory that come together

// The LANES vectors at `from`, or those of them that there are, are asked for: into the second-level
// cache, since a run's keys and values are more than the first holds.
template <class E>
void fetch(const E* const* from, int64_t count, int64_t head_dim) {
  for (int64_t t = 0; t < std::min<int64_t>(LANES, count); ++t) {
    const char* at = (const char*)from[t];
    for (int64_t line = 0; line < head_dim * (int64_t)sizeof(E); line += LINE) {
      __builtin_prefetch(at + line, 0, 2);
    }
  }
}

// scores[lane] = q · keys[lane]. VECTORS of them make a head; 0: any number, which is slower.
template <int VECTORS, class E>
void score_lanes(const E* q, const E* const* keys, int64_t head_dim, float* scores) {
  constexpr int step = STEP_OF<E>;
  const int64_t whole = VECTORS ? VECTORS * step : head_dim / step * step;
  Sums sums[LANES];
#pragma GCC unroll 16
  for (int lane = 0; lane < LANES; ++lane) {
    const E* key = keys[lane];
    Sums sum = zero();
#pragma GCC unroll 8
    for (int64_t d = 0; d < whole; d += step) {
      sum = multiply_add(sum, load(q + d), load(key + d));
    }
    // head_dim is a multiple of LANES or STEP / 2.
    if constexpr (VECTORS == 0 && sizeof(E) == sizeof(bf16)) {
      const int left = (int)(head_dim - whole);
      if (left) {
        sum = multiply_add(sum, load_tail(q + whole, left), load_tail(key + whole, left));
      }
    }
    sums[lane] = sum;
  }
  reduce(sums, scores);
}

template <class E>
using ScoreLanes = void (*)(const E*, const E* const*, int64_t, float*);

template <class E>
ScoreLanes<E> score_lanes_for(int64_t head_dim) {
  constexpr int step = STEP_OF<E>;
  if (head_dim == 64) return score_lanes<64 / step, E>;
  if (head_dim == 128) return score_lanes<128 / step, E>;
  return score_lanes<0, E>;
}

// All lanes joined, halves by halves: they wait for each other fewer times than one after the other.
template <class Join>
float fold(Sums sums, const Join& join) {
  float lanes[LANES];
  store(lanes, sums);
  for (int half = LANES / 2; half; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] = join(lanes[i], lanes[half + i]);
  }
  return lanes[0];
}

struct Weighed {
  float most, sum;
};

// scores [SPLIT] become weights; tokens outside first … end are not seen. Returns the largest score
// and the weights' sum.
inline Weighed weigh(float* scores, int64_t count, int64_t first, int64_t end, float scale) {
  const float unseen = -std::numeric_limits<float>::infinity();
  for (int64_t t = 0; t < first; ++t) scores[t] = unseen;
  const int64_t padded = (count + LANES - 1) / LANES * LANES;
  for (int64_t t = end; t < padded; ++t) scores[t] = unseen;
  Sums most = broadcast(LEAST), sum = zero();
  for (int64_t t = 0; t < padded; t += LANES) most = larger(most, load(scores + t));
  const float largest = fold(most, [](float a, float b) { return std::max(a, b); });
  for (int64_t t = 0; t < padded; t += LANES) {
    const Sums weights = exponential((load(scores + t) - largest) * scale);
    store(scores + t, weights);
    sum += weights;
  }
  return {largest, fold(sum, [](float a, float b) { return a + b; })};
}

// A block's rows while they meet a run of keys. scores [rows, SPLIT] become weights, and those the
// factors of values.
template <class E>
struct FewRows {
  Run<E> run;
  alignas(64) float scores[FEW * SPLIT];
  alignas(64) Factor<E> factors[FEW * SPLIT];
};

template <class E, class Cache>
void score_run(const AttentionOf<E>& a, const Cache& cache, const Block& b, FewRows<E>& few) {
  const auto score_lanes = score_lanes_for<E>(a.head_dim);
  Run<E>& run = few.run;
  for (int64_t t = 0; t < run.count; t += Cache::PIECE) {
    cache.load_keys(a.head_dim, t, run);
    const int64_t until = std::min(t + Cache::PIECE, run.count);
    // Past the last key that one is read again.
    for (int64_t i = until; i % LANES; ++i) run.keys[i] = run.keys[until - 1];
    for (int64_t at = t; at < until; at += LANES) {
      if (Cache::IN_PLACE) {
        fetch(run.keys + at + LANES, run.count - at - LANES, a.head_dim);
        fetch(run.values + at, run.count - at, a.head_dim);
      }
      for (int64_t r = 0; r < b.rows; ++r) {
        score_lanes(a.q + row_at(a, b, r, a.q_stride), run.keys + at, a.head_dim,
                    few.scores + r * SPLIT + at);
      }
    }
  }
}

// Row r's factors, and what softmax needs of it at the end of its partial result. first: the run's.
template <class E>
void weigh_row(const AttentionOf<E>& a, const Block& b, int64_t r, int64_t first, FewRows<E>& few,
               float* partial) {
  const Run<E>& run = few.run;
  float* scores = few.scores + r * SPLIT;
  Factor<E>* factors = few.factors + r * SPLIT;
  if (run.key_scales) {
    for (int64_t t = 0; t < run.count; ++t) scores[t] *= run.key_scales[t];
  }
  auto in_run = [&](int64_t t) { return std::min(run.count, std::max<int64_t>(0, t)); };
  const int64_t next = position(a, b, r) - first + 1;
  const auto [most, sum] = weigh(scores, run.count, in_run(next - a.window), in_run(next), a.scale);
  if (run.value_scales) {
    for (int64_t t = 0; t < run.count; ++t) scores[t] *= run.value_scales[t];
  }
#pragma omp simd
  for (int64_t t = 0; t < run.count; ++t) put(factors[t], scores[t]);
  if (run.count % 2) put(factors[run.count], 0.0f);
  partial[a.head_dim] = most;
  partial[a.head_dim + 1] = sum;
}

// A block's rows, FEW at most, with a piece of its keys, SPLIT at most, to partial results.
template <class E, class Cache>
void attend_few(const AttentionOf<E>& a, const Cache& cache, const Block& b, const Piece& piece,
                float* partial) {
  thread_local FewRows<E> few;
  Run<E>& run = few.run;
  cache.find(a, piece, run);
  score_run(a, cache, b, few);
  for (int64_t r = 0; r < b.rows; ++r) {
    weigh_row(a, b, r, piece.first, few, partial + r * partial_stride(a.head_dim));
  }
  for (int64_t t = 0; t < run.count; t += Cache::PIECE) {
    cache.load_values(a.head_dim, t, run);
    const int64_t until = std::min(t + Cache::PIECE, run.count);
    if (until % 2) run.values[until] = run.values[until - 1];  // its factor is 0
    mix(few.factors + t, run.values + t, until - t, b.rows, t == 0, a.head_dim, partial);
  }
}

}  // namespace attention
