// A few rows of x along a few rows of W by dot products of vectors.
//
// Each pass takes up to TILE rows of x along LANES / TILE rows of W and keeps one vector of partial
// sums an output, LANES outputs in all: few enough for the registers, and as many as one
// transposing reduction sums up.

#pragma once

#include <algorithm>

#include "product.h"
#include "simd.h"

namespace vectors {

constexpr int TILE = LANES / 2;

// Rows row0 … row0 + ROWS of y, columns column0 … end, from as many rows of x and of W.
template <int ROWS>
void tile(const Product& p, int64_t row0, int64_t column0, int64_t end) {
  constexpr int COLUMNS = LANES / ROWS;
  const int64_t k = p.k;
  const bf16* x = p.x + row0 * k;
  for (int64_t column = column0; column < end; column += COLUMNS) {
    const int count = (int)std::min<int64_t>(COLUMNS, end - column);
    const bf16* w[COLUMNS];
    // Past the last row of W the last one is read again, and its products are dropped.
    for (int c = 0; c < COLUMNS; ++c) w[c] = p.w + (column + std::min(c, count - 1)) * k;
    Sums sums[LANES];
    for (int i = 0; i < LANES; ++i) sums[i] = zero();
    int64_t at = 0;
    for (; at + STEP <= k; at += STEP) {
      Pairs weights[COLUMNS];
#pragma GCC unroll 16
      for (int c = 0; c < COLUMNS; ++c) {
        weights[c] = load(w[c] + at);
        // The same place in the rows to come; a prefetch past the end of W is no fault.
        _mm_prefetch((const char*)(w[c] + at + COLUMNS * k), _MM_HINT_T0);
      }
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) {
        const Pairs values = load(x + r * k + at);
#pragma GCC unroll 16
        for (int c = 0; c < COLUMNS; ++c) {
          sums[r * COLUMNS + c] = multiply_add(sums[r * COLUMNS + c], weights[c], values);
        }
      }
    }
    if (at < k) {
      const int left = (int)(k - at);
      for (int r = 0; r < ROWS; ++r) {
        const Pairs values = load_tail(x + r * k + at, left);
        for (int c = 0; c < COLUMNS; ++c) {
          Sums& sum = sums[r * COLUMNS + c];
          sum = multiply_add(sum, load_tail(w[c] + at, left), values);
        }
      }
    }
    float totals[LANES];
    reduce(sums, totals);
    for (int r = 0; r < ROWS; ++r) {
      for (int c = 0; c < count; ++c) {
        const float bias = p.bias ? widen(p.bias[column + c]) : 0.0f;
        p.y[(row0 + r) * p.n + column + c] = narrow(totals[r * COLUMNS + c] + bias);
      }
    }
  }
}

using Tile = void (*)(const Product&, int64_t, int64_t, int64_t);
constexpr Tile TILES[TILE] = {tile<1>, tile<2>, tile<3>, tile<4>,
                              tile<5>, tile<6>, tile<7>, tile<8>};

constexpr int BLOCK = 16;  // rows of W that stay in cache while every tile of x passes over them

// Rows `first` … `last` of W with every row of x.
inline void multiply(const Product& p, int64_t first, int64_t last) {
  const int64_t tiles = (p.m + TILE - 1) / TILE;
  const int64_t rows = (p.m + tiles - 1) / tiles;
  const int64_t block = tiles == 1 ? last - first : BLOCK;
  for (int64_t column = first; column < last; column += block) {
    const int64_t end = std::min(column + block, last);
    for (int64_t row = 0; row < p.m; row += rows) {
      TILES[std::min(rows, p.m - row) - 1](p, row, column, end);
    }
  }
}

}  // namespace vectors
