// bfloat16 weights in panels of [k / 2, COLUMNS, 2]: pairs of inputs, as vdpbf16ps takes them. Where
// k is odd the last pair's second weight is zero; so are the weights of columns past n.

#pragma once

#include "panels.h"

struct DenseMap {
  const bf16* x;  // [m, k]
  const bf16* packed;
  int64_t k;
  static constexpr int MOST_ROWS = panels::MOST_ROWS;
  static constexpr int PAIRED_ROWS = 0;

  template <int ROWS>
  void tile(int64_t row, int64_t panel, float* totals) const {
    using namespace panels;
    const int64_t pairs = k / 2;
    const bf16* w = packed + panel * COLUMNS * 2 * divide_up(k, 2);
    for (int column = 0; column < COLUMNS; column += PASS) {
      const bf16 *at = w + 2 * column, *values = x + row * k;
      Sums sums[ROWS][VECTORS];
      for (auto& of_row : sums) {
        for (Sums& sum : of_row) sum = zero();
      }
      for (int64_t pair = 0; pair < pairs; ++pair, at += 2 * COLUMNS, values += 2) {
        prefetch_ahead(at);
        prefetch_ahead(at + 32);
        step<ROWS>(sums, at, [&](int r) { return broadcast(values + r * k); });
      }
      if (k % 2) {
        step<ROWS>(sums, at, [&](int r) {
          const bf16 last[2] = {values[r * k], 0};
          return broadcast(last);
        });
      }
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) {
        for (int v = 0; v < VECTORS; ++v) {
          store(totals + r * COLUMNS + column + v * LANES, sums[r][v]);
        }
      }
    }
  }

 private:
  template <int ROWS, class Values>
  static void step(Sums (&sums)[ROWS][panels::VECTORS], const bf16* at, const Values& values) {
    Pairs weights[panels::VECTORS];
    for (int v = 0; v < panels::VECTORS; ++v) weights[v] = load(at + v * STEP);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      const Pairs value = values(r);
#pragma GCC unroll 2
      for (int v = 0; v < panels::VECTORS; ++v) {
        sums[r][v] = multiply_add(sums[r][v], weights[v], value);
      }
    }
  }
};
