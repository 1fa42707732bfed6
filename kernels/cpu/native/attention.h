// Attention of one new token a sequence over its cached keys and values.

#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "exponential.h"
#include "simd.h"

// Token t of sequence i lies in slot tables[i][t / block] · unit + t % block of the caches. Blocks
// of a paged cache are numbered (unit = block); a contiguous run is one block, longer than any
// sequence, that starts anywhere (unit = 1).
struct Attention {
  const bf16* q;  // [sequences, kv_heads · group, head_dim], rows q_stride apart
  int64_t q_stride;
  bf16* out;  // [sequences, kv_heads · group, head_dim]
  const int64_t* tables;
  int64_t table_stride, block, unit;
  const int64_t* lengths;
  int64_t kv_heads, group, head_dim;
  int64_t window;  // how many of the last tokens are seen
  float scale;
};

namespace attention {

// scores[g][t] = q[g] · k[t] for the rows of k at `rows`.
inline void score(const Attention& a, const bf16* q, const bf16* k,
                  const std::vector<int64_t>& rows, std::vector<float>& scores) {
  const int64_t length = (int64_t)rows.size(), whole = a.head_dim / STEP * STEP;
  const int left = (int)(a.head_dim - whole);
  for (int64_t g = 0; g < a.group; ++g, q += a.head_dim) {
    for (int64_t t = 0; t < length; t += LANES) {
      Sums sums[LANES];
      for (int lane = 0; lane < LANES; ++lane) {
        const bf16* key = k + rows[std::min(t + lane, length - 1)];
        Sums sum = zero();
        for (int64_t d = 0; d < whole; d += STEP) {
          sum = multiply_add(sum, load(q + d), load(key + d));
        }
        if (left) sum = multiply_add(sum, load_tail(q + whole, left), load_tail(key + whole, left));
        sums[lane] = sum;
      }
      float totals[LANES];
      reduce(sums, totals);
      const int64_t count = std::min<int64_t>(LANES, length - t);
      std::copy(totals, totals + count, &scores[g * length + t]);
    }
  }
}

// In place; returns the factor that makes the weights sum to one.
inline float softmax(float* scores, int64_t length, float scale) {
  float most = -std::numeric_limits<float>::infinity();
  for (int64_t t = 0; t < length; ++t) most = std::max(most, scores[t]);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t t = 0; t < length; ++t) {
    scores[t] = exponential((scores[t] - most) * scale);
    sum += scores[t];
  }
  return 1 / sum;
}

// CHUNKS · LANES elements of the weighted mean of v's rows.
template <int CHUNKS>
void mix(const float* weights, float norm, const bf16* v, const std::vector<int64_t>& rows,
         bf16* out) {
  Sums sums[CHUNKS];
  for (int c = 0; c < CHUNKS; ++c) sums[c] = zero();
  for (size_t t = 0; t < rows.size(); ++t) {
    const bf16* value = v + rows[t];
#pragma GCC unroll 4
    for (int c = 0; c < CHUNKS; ++c) {
      sums[c] = multiply_add(sums[c], weights[t], load_wide(value + c * LANES));
    }
  }
  float totals[CHUNKS * LANES];
  for (int c = 0; c < CHUNKS; ++c) store(totals + c * LANES, sums[c]);
  for (int d = 0; d < CHUNKS * LANES; ++d) out[d] = narrow(totals[d] * norm);
}

// The slots of the tokens that a sequence's new one sees.
inline void see(const Attention& a, int64_t sequence, std::vector<int64_t>& slots) {
  const int64_t kv_length = a.lengths[sequence];
  const int64_t first = std::max<int64_t>(0, kv_length - a.window);
  const int64_t* table = a.tables + sequence * a.table_stride;
  slots.resize(kv_length - first);
  for (int64_t t = first; t < kv_length; ++t) {
    slots[t - first] = table[t / a.block] * a.unit + t % a.block;
  }
}

// One KV head of one sequence, with the group of query heads that share it. Key t is at k + rows[t],
// times key_scales[t] if there are any; values alike.
inline void attend(const Attention& a, int64_t sequence, int64_t head, const bf16* k, const bf16* v,
                   const std::vector<int64_t>& rows, const float* key_scales,
                   const float* value_scales) {
  thread_local std::vector<float> scores;
  const int64_t length = (int64_t)rows.size();
  scores.resize(a.group * length);
  const int64_t query = head * a.group * a.head_dim;
  score(a, a.q + sequence * a.q_stride + query, k, rows, scores);
  bf16* out = a.out + sequence * a.kv_heads * a.group * a.head_dim + query;
  for (int64_t g = 0; g < a.group; ++g, out += a.head_dim) {
    float* weights = &scores[g * length];
    if (key_scales) {
      for (int64_t t = 0; t < length; ++t) weights[t] *= key_scales[t];
    }
    const float norm = softmax(weights, length, a.scale);
    if (value_scales) {
      for (int64_t t = 0; t < length; ++t) weights[t] *= value_scales[t];
    }
    int64_t d = 0;
    for (; d + 4 * LANES <= a.head_dim; d += 4 * LANES) {
      mix<4>(weights, norm, v + d, rows, out + d);
    }
    for (; d < a.head_dim; d += LANES) mix<1>(weights, norm, v + d, rows, out + d);
  }
}

// The same where k and v [slots, kv_heads, head_dim] are bfloat16 and read where they lie.
inline void attend(const Attention& a, int64_t sequence, int64_t head, const bf16* k,
                   const bf16* v) {
  thread_local std::vector<int64_t> rows;
  see(a, sequence, rows);
  for (int64_t& row : rows) row = (row * a.kv_heads + head) * a.head_dim;
  attend(a, sequence, head, k, v, rows, nullptr, nullptr);
}

}  // namespace attention
