// bfloat16 weights in panels of [k / 2, COLUMNS, 2]: pairs of inputs, as vdpbf16ps takes them. Where
// k is odd the last pair's second weight is zero; so are the weights of columns past n.

#pragma once

#include "panels.h"

namespace panels {

// From one pair of inputs of a panel; pair_of(r): of row r of x.
template <int PART, int ROWS, int WIDTH, class PairOf>
inline void add_pair(Sums (&sums)[ROWS][WIDTH], const bf16* at, const PairOf& pair_of) {
  Factors weights[WIDTH];
  for (int v = 0; v < WIDTH; ++v) weights[v] = factors<PART>(load(at + v * STEP));
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r) {
    const Factors value = spread<PART>(pair_of(r));
#pragma GCC unroll 4
    for (int v = 0; v < WIDTH; ++v) {
      sums[r][v] = multiply_add(sums[r][v], weights[v], value);
    }
  }
  if constexpr (PART + 1 < PARTS) add_pair<PART + 1>(sums, at, pair_of);
}

// From `count` pairs, from x on in rows `stride` apart.
template <bool PREFETCH, int ROWS, int WIDTH>
inline void add_pairs(Sums (&sums)[ROWS][WIDTH], const bf16* at, int64_t count, const Input* x,
                      int64_t stride) {
  for (int64_t pair = 0; pair < count; ++pair, at += 2 * COLUMNS, x += 2) {
    if constexpr (PREFETCH) {
      prefetch_ahead(at);
      prefetch_ahead(at + 32);
    }
    add_pair<0>(sums, at, [&](int r) { return x + r * stride; });
  }
}

}  // namespace panels

struct DenseMap {
  Inputs inputs;
  const bf16* packed;
  int64_t k;
  static constexpr int MOST_ROWS = panels::TILE_ROWS;
  static constexpr int PAIRED_ROWS = 0;

  template <int ROWS>
  void tile(int64_t row, int64_t panel, float* totals) const {
    using namespace panels;
    constexpr int WIDTH = VECTORS<ROWS>;
    const int64_t pairs = Inputs::WIDENED ? divide_up(k, 2) : k / 2, stride = inputs.stride;
    const bf16* w = packed + panel * COLUMNS * 2 * divide_up(k, 2);
    const Input* x = inputs.x + row * stride;
    for (int column = 0; column < COLUMNS; column += WIDTH * LANES) {
      const bf16* at = w + 2 * column;
      Sums sums[ROWS][WIDTH];
      for (auto& of_row : sums) {
        for (Sums& sum : of_row) sum = zero();
      }
      add_pairs<true>(sums, at, pairs, x, stride);
      if (!Inputs::WIDENED && k % 2) {
        Input last[ROWS][2];
        for (int r = 0; r < ROWS; ++r) last[r][0] = x[r * stride + k - 1], last[r][1] = 0;
        add_pair<0>(sums, at + pairs * 2 * COLUMNS, [&](int r) { return last[r]; });
      }
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) {
        for (int v = 0; v < WIDTH; ++v) {
          store(totals + r * COLUMNS + column + v * LANES, sums[r][v]);
        }
      }
    }
  }

  // What chunks.h asks: all inputs are one group.
  struct Groups {
    struct Scale {};

    float begin(int64_t, int64_t) const { return 0; }

    Scale scale(int64_t, int64_t, int) const { return {}; }

    void add(float* total, Sums sum, Scale, int64_t, int64_t) const { store(total, sum); }
  };
  Groups groups = {};

  int64_t group_inputs() const { return panels::divide_up(k, 2) * 2; }

  const bf16* pairs(int64_t panel, int64_t first, int64_t, bf16*) const {
    return packed + panels::COLUMNS * (panel * group_inputs() + first);
  }
};
