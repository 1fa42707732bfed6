// Few query rows, a decode's mostly: vectors run along the head, a dot product a key and row.

#pragma once

#include <limits>

#include "attention_cache.h"
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

// scores[t] = q · keys[t]. values: what memory is asked for beside the keys to come, or null.
template <class E>
void score(const E* q, const E* const* keys, const E* const* values, int64_t count,
           int64_t head_dim, float* scores) {
  constexpr int step = STEP_OF<E>;
  const int64_t whole = head_dim / step * step;
  for (int64_t t = 0; t < count; t += LANES) {
    if (values) {
      fetch(keys + t + LANES, count - t - LANES, head_dim);
      fetch(values + t, count - t, head_dim);
    }
    Sums sums[LANES];
    for (int lane = 0; lane < LANES; ++lane) {
      const E* key = keys[std::min(t + lane, count - 1)];
      Sums sum = zero();
      for (int64_t d = 0; d < whole; d += step) {
        sum = multiply_add(sum, load(q + d), load(key + d));
      }
      // head_dim is a multiple of LANES or STEP / 2.
      if constexpr (sizeof(E) == sizeof(bf16)) {
        const int left = (int)(head_dim - whole);
        if (left) {
          sum = multiply_add(sum, load_tail(q + whole, left), load_tail(key + whole, left));
        }
      }
      sums[lane] = sum;
    }
    reduce(sums, scores + t);
  }
}

// scores [SPLIT] become weights; tokens outside first … end are not seen. Returns the largest score
// and the weights' sum.
struct Weighed {
  float most, sum;
};

inline Weighed weigh(float* scores, int64_t count, int64_t first, int64_t end, float scale) {
  const float unseen = -std::numeric_limits<float>::infinity();
  for (int64_t t = 0; t < first; ++t) scores[t] = unseen;
  const int64_t padded = (count + LANES - 1) / LANES * LANES;
  for (int64_t t = end; t < padded; ++t) scores[t] = unseen;
  Sums most = broadcast(LEAST), sum = zero();
  for (int64_t t = 0; t < padded; t += LANES) most = larger(most, load(scores + t));
  float largest = LEAST;
  for (int lane = 0; lane < LANES; ++lane) largest = std::max(largest, most[lane]);
  for (int64_t t = 0; t < padded; t += LANES) {
    const Sums weights = exponential((load(scores + t) - largest) * scale);
    store(scores + t, weights);
    sum += weights;
  }
  float total = 0;
  for (int lane = 0; lane < LANES; ++lane) total += sum[lane];
  return {largest, total};
}

// CHUNKS · LANES elements of the weighted sums of values, for ROWS rows of weights SPLIT apart, which
// go on from what `out` holds unless these are the first.
template <int ROWS, int CHUNKS, class E>
void mix(const float* weights, const E* const* values, int64_t count, bool first, int64_t d,
         float* out, int64_t out_stride) {
  Sums sums[ROWS][CHUNKS];
  for (int r = 0; r < ROWS; ++r) {
    for (int c = 0; c < CHUNKS; ++c) {
      sums[r][c] = first ? zero() : load(out + r * out_stride + d + c * LANES);
    }
  }
  for (int64_t t = 0; t < count; ++t) {
    const E* value = values[t] + d;
#pragma GCC unroll 4
    for (int c = 0; c < CHUNKS; ++c) {
      const Sums wide = load_wide(value + c * LANES);
#pragma GCC unroll 4
      for (int r = 0; r < ROWS; ++r) {
        sums[r][c] = multiply_add(sums[r][c], weights[r * SPLIT + t], wide);
      }
    }
  }
  for (int r = 0; r < ROWS; ++r) {
    for (int c = 0; c < CHUNKS; ++c) store(out + r * out_stride + d + c * LANES, sums[r][c]);
  }
}

template <int ROWS, class E>
void mix_rows(const float* weights, const E* const* values, int64_t count, bool first,
              int64_t head_dim, float* out) {
  const int64_t stride = partial_stride(head_dim);
  int64_t d = 0;
  for (; d + 4 * LANES <= head_dim; d += 4 * LANES) {
    mix<ROWS, 4>(weights, values, count, first, d, out, stride);
  }
  for (; d < head_dim; d += LANES) {
    mix<ROWS, 1>(weights, values, count, first, d, out, stride);
  }
}

// A block's rows, FEW at most, with keys first … end, SPLIT at most, to partial results.
template <class E, class Cache>
void attend_few(const AttentionOf<E>& a, const Cache& cache, const Block& b, int64_t first,
                int64_t end, float* partial) {
  thread_local Run<E> run;
  cache.find(a, b.sequence, b.head, first, end, run);
  alignas(64) float weights[FEW * SPLIT];
  const int64_t count = run.count, stride = partial_stride(a.head_dim);
  for (int64_t t = 0; t < count; t += Cache::PIECE) {
    cache.load_keys(a.head_dim, t, run);
    for (int64_t r = 0; r < b.rows; ++r) {
      const E* const* values = Cache::IN_PLACE && r == 0 ? run.values + t : nullptr;
      score(a.q + row_at(a, b, r, a.q_stride), run.keys + t, values,
            std::min(Cache::PIECE, count - t), a.head_dim, weights + r * SPLIT + t);
    }
  }
  for (int64_t r = 0; r < b.rows; ++r) {
    float* scores = weights + r * SPLIT;
    if (run.key_scales) {
      for (int64_t t = 0; t < count; ++t) scores[t] *= run.key_scales[t];
    }
    const int64_t last = position(a, b, r) - first;
    const int64_t seen = std::min(count, std::max<int64_t>(0, last - a.window + 1));
    const auto [most, sum] =
        weigh(scores, count, seen, std::min(count, std::max<int64_t>(0, last + 1)), a.scale);
    if (run.value_scales) {
      for (int64_t t = 0; t < count; ++t) scores[t] *= run.value_scales[t];
    }
    partial[r * stride + a.head_dim] = most;
    partial[r * stride + a.head_dim + 1] = sum;
  }
  for (int64_t t = 0; t < count; t += Cache::PIECE) {
    cache.load_values(a.head_dim, t, run);
    int64_t r = 0;
    auto mixed = [&](auto rows) {
      mix_rows<decltype(rows)::value>(weights + r * SPLIT + t, run.values + t,
                                      std::min(Cache::PIECE, count - t), t == 0, a.head_dim,
                                      partial + r * stride);
      r += decltype(rows)::value;
    };
    constexpr int TOGETHER = LANES == 16 ? 4 : 2;
    while (b.rows - r >= TOGETHER) mixed(std::integral_constant<int, TOGETHER>());
    if (b.rows - r == 3) mixed(std::integral_constant<int, TOGETHER - 1>());
    if (b.rows - r == 2) mixed(std::integral_constant<int, 2>());
    if (b.rows - r == 1) mixed(std::integral_constant<int, 1>());
  }
}

}  // namespace attention
