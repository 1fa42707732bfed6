// Eight-bit weights with a scale a row, times rows of x rounded to eight bits with a scale of their
// own: kernels/reference/w8a8.py.
//
// Panels of [k / 4, COLUMNS, 4] bytes, each a code + 128, since the processor multiplies bytes
// without a sign by bytes with one: Σ x · w = Σ x · (w + 128) - 128 · Σ x, and the sums begin at the
// last term. Past k the codes of x are zero. The scales [n] are followed by zeros to the end of the
// last panel.

#pragma once

#include <algorithm>

#include "coded_inputs.h"
#include "panels.h"
#include "simd_int8.h"

struct W8A8Map {
  const uint8_t* packed;
  const float* scales;
  int64_t k;
  const Code* codes;      // of x, [m, stride], each four as simd_int8.h spreads them
  const float* x_scales;  // [m]
  const int32_t* begins;  // [m], -128 · Σ codes
  static constexpr int MOST_ROWS = panels::MOST_ROWS;
  static constexpr int PAIRED_ROWS = 0;

  static int64_t stride(int64_t k) { return panels::divide_up(k, 4) * 4; }

  static int64_t prepared_bytes(int64_t m, int64_t k) {
    return m * (stride(k) * (int64_t)sizeof(Code) + 8);
  }

  W8A8Map(const void* packed, const void* scales, int64_t m, int64_t k, const void* prepared)
      : packed((const uint8_t*)packed),
        scales((const float*)scales),
        k(k),
        codes((const Code*)prepared),
        x_scales((const float*)(codes + m * stride(k))),
        begins((const int32_t*)(x_scales + m)) {}

  // x [m, k] to what `prepared` holds, rows first … last.
  static void prepare(const bf16* x, int64_t m, int64_t k, void* prepared, int64_t first,
                      int64_t last) {
    Code* codes = (Code*)prepared;
    float* x_scales = (float*)(codes + m * stride(k));
    int32_t* begins = (int32_t*)(x_scales + m);
    for (int64_t row = first; row < last; ++row) {
      begins[row] = -128 * quantize(x + row * k, k, codes + row * stride(k), x_scales + row);
    }
  }

  template <int ROWS>
  void tile(int64_t row, int64_t panel, float* totals) const {
    using namespace panels;
    constexpr int WIDTH = VECTORS<ROWS>;
    const int64_t quads = divide_up(k, 4);
    const uint8_t* w = packed + panel * COLUMNS * 4 * quads;
    for (int column = 0; column < COLUMNS; column += WIDTH * LANES) {
      const uint8_t* at = w + 4 * column;
      const Code* values = codes + row * 4 * quads;
      Counts sums[ROWS][WIDTH];
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) {
        for (Counts& sum : sums[r]) sum = count_from(begins[row + r]);
      }
      for (int64_t quad = 0; quad < quads; ++quad, at += 4 * COLUMNS, values += 4) {
        prefetch_ahead(at);
        prefetch_ahead(at + 64);
        step<0>(sums, at, values, 4 * quads);
      }
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < WIDTH; ++v) {
          const int to = column + v * LANES;
          const Sums scaled = multiply_add(zero(), x_scales[row + r], to_float(sums[r][v]));
          store(totals + r * COLUMNS + to,
                product(scaled, load(scales + panel * COLUMNS + to)));
        }
      }
    }
  }

 private:
  template <int PART, int ROWS, int WIDTH>
  static void step(Counts (&sums)[ROWS][WIDTH], const uint8_t* at, const Code* values,
                   int64_t stride) {
    Quads weights[WIDTH];
    for (int v = 0; v < WIDTH; ++v) weights[v] = factors<PART>(load(at + v * 4 * LANES));
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      const Quads value = spread<PART>(values + r * stride);
#pragma GCC unroll 4
      for (int v = 0; v < WIDTH; ++v) {
        sums[r][v] = multiply_add(sums[r][v], weights[v], value);
      }
    }
    if constexpr (PART + 1 < QUAD_PARTS) step<PART + 1>(sums, at, values, stride);
  }

  // Of one row; returns the sum of its codes.
  static int32_t quantize(const bf16* x, int64_t k, Code* codes, float* scale) {
    std::fill(codes + k, codes + stride(k), (Code)0);
    const int32_t sum = round_to_codes(x, k, codes, scale);
    if constexpr (QUAD_PARTS == 2) {
      for (int64_t i = 0; i < k; i += 4) std::swap(codes[i + 1], codes[i + 2]);
    }
    return sum;
  }
};
