// The sums of values by the weights of a few rows: vectors run along the head.
//
// Where the processor multiplies pairs of bfloat16, the values of two tokens lie side by side and meet
// a pair of weights; otherwise each is widened.

#pragma once

#include "attention_cache.h"

namespace attention {

// Rows of weights that a value meets while it is in registers, with the sums of CHUNKS of the head.
constexpr int MIXED_ROWS = LANES == 16 ? 4 : 2;
constexpr int64_t CHUNK = 4 * LANES;

// CHUNKS · LANES elements, of ROWS rows of weights SPLIT apart; `out`, stride apart, is added to unless
// these are the first values.
template <int ROWS, int CHUNKS, class E>
void mix_chunk(const float* weights, const E* const* values, int64_t count, bool first, int64_t d,
               float* out, int64_t stride) {
  Sums sums[ROWS][CHUNKS];
  for (int r = 0; r < ROWS; ++r) {
    for (int c = 0; c < CHUNKS; ++c) {
      sums[r][c] = first ? zero() : load(out + r * stride + d + c * LANES);
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
    for (int c = 0; c < CHUNKS; ++c) store(out + r * stride + d + c * LANES, sums[r][c]);
  }
}

#if defined(__AVX512BF16__)

// Two tokens at a time: behind an odd last one stands any value, with a weight of 0.
template <int ROWS, int CHUNKS>
void mix_chunk(const bf16* weights, const bf16* const* values, int64_t count, bool first, int64_t d,
               float* out, int64_t stride) {
  constexpr int STEPS = (CHUNKS + 1) / 2;
  Sums low[ROWS][STEPS], high[ROWS][STEPS];
  for (int r = 0; r < ROWS; ++r) {
    for (int s = 0; s < STEPS; ++s) low[r][s] = high[r][s] = zero();
  }
  auto elements = [&](int64_t t, int s) {
    const bf16* from = values[t] + d + s * STEP;
    return CHUNKS == 1 ? load_tail(from, LANES) : load(from);
  };
  for (int64_t t = 0; t < count; t += 2) {
    Pairs pair[ROWS];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; ++r) pair[r] = broadcast(weights + r * SPLIT + t);
#pragma GCC unroll 2
    for (int s = 0; s < STEPS; ++s) {
      const Beside both = beside(elements(t, s), elements(t + 1, s));
#pragma GCC unroll 4
      for (int r = 0; r < ROWS; ++r) {
        low[r][s] = multiply_add(low[r][s], both.low, pair[r]);
        high[r][s] = multiply_add(high[r][s], both.high, pair[r]);
      }
    }
  }
  auto add = [&](float* to, Sums sums) { store(to, first ? sums : load(to) + sums); };
  for (int r = 0; r < ROWS; ++r) {
    for (int s = 0; s < STEPS; ++s) {
      float* to = out + r * stride + d + s * STEP;
      in_order(low[r][s], high[r][s]);
      add(to, low[r][s]);
      if (CHUNKS > 1) add(to + LANES, high[r][s]);
    }
  }
}

#endif

// out [rows, partial_stride] from weights [rows, SPLIT] and `count` values.
template <class W, class E>
void mix(const W* weights, const E* const* values, int64_t count, int64_t rows, bool first,
         int64_t head_dim, float* out) {
  const int64_t stride = partial_stride(head_dim);
  auto mixed = [&](auto together) {
    constexpr int ROWS = decltype(together)::value;
    int64_t d = 0;
    for (; d + CHUNK <= head_dim; d += CHUNK) {
      mix_chunk<ROWS, 4>(weights, values, count, first, d, out, stride);
    }
    for (; d < head_dim; d += LANES) {
      mix_chunk<ROWS, 1>(weights, values, count, first, d, out, stride);
    }
    rows -= ROWS, weights += ROWS * SPLIT, out += ROWS * stride;
  };
  while (rows >= MIXED_ROWS) mixed(std::integral_constant<int, MIXED_ROWS>());
  if (rows == 3) mixed(std::integral_constant<int, MIXED_ROWS - 1>());
  if (rows == 2) mixed(std::integral_constant<int, 2>());
  if (rows == 1) mixed(std::integral_constant<int, 1>());
}

}  // namespace attention
