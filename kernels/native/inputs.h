// x [m, k] as products take it: as it is where the processor multiplies bfloat16, and else widened once
// for all the panels that it meets.
//
// A pair of inputs is a product where two bfloat16 are multiplied at once, and else PARTS products, of
// its first and of its second input.

#pragma once

#include <algorithm>

#include "simd.h"

#if defined(__AVX512BF16__)

using Input = bf16;
using Factors = Pairs;
constexpr int PARTS = 1;

template <int PART>
inline Factors factors(Pairs weights) {
  return weights;
}

// A pair of x, in every lane.
template <int PART>
inline Factors spread(const Input* pair) {
  return broadcast(pair);
}

#else

using Input = float;
using Factors = Sums;
constexpr int PARTS = 2;

// A bfloat16 is the upper half of a float32.
template <int PART>
inline Factors factors(Pairs weights) {
  return (Sums)(PART ? weights & 0xffff0000u : weights << 16);
}

template <int PART>
inline Factors spread(const Input* pair) {
  return broadcast(pair[PART]);
}

#endif

struct Inputs {
  const Input* x;  // [m, stride]
  int64_t stride;  // k, or the next even number: what follows k is zero

  static constexpr bool WIDENED = PARTS > 1;

  // Of scratch, whole cache lines.
  static int64_t prepared_bytes(int64_t m, int64_t k) {
    return WIDENED ? (m * stride_of(k) * (int64_t)sizeof(Input) + 63) / 64 * 64 : 0;
  }

  // Rows first … last of x to `prepared`.
  static void prepare(const bf16* x, int64_t k, void* prepared, int64_t first, int64_t last) {
    if constexpr (WIDENED) {
      const int64_t stride = stride_of(k);
      for (int64_t row = first; row < last; ++row) {
        Input* const to = (Input*)prepared + row * stride;
        for (int64_t i = 0; i < k; ++i) to[i] = widen(x[row * k + i]);
        std::fill(to + k, to + stride, (Input)0);
      }
    }
  }

  static Inputs of(const bf16* x, int64_t k, const void* prepared) {
    return {(const Input*)(WIDENED ? prepared : x), WIDENED ? stride_of(k) : k};
  }

 private:
  static int64_t stride_of(int64_t k) { return (k + 1) / 2 * 2; }
};
