// Four-bit weights in groups along k, times x rounded to eight bits in the same groups:
// kernels/reference/w4a8.py.
//
// Panels of [k / 8, COLUMNS, 4] bytes: of eight inputs of a column the first four are the lower bits of
// its bytes and the others the upper. Scales, float16, and 8 - zero, int8, as w4a16.h has them.
//
// With q the codes of weights, c those of x: a group is scale · x_scale · (Σ c · q - zero · Σ c), in which
// all but the scales are integers, and in groups of up to 8192 inputs float32 holds each.

#pragma once

#include "coded_inputs.h"
#include "panels.h"
#include "simd_nibbles.h"
#include "simd_w4a8.h"

struct W4A8Map {
  CodedInputs x;
  const uint8_t* packed;
  const uint16_t* scales;
  const int8_t* shifts;
  int64_t k, group;
  // Vectors of a panel.
  static constexpr int PANEL = panels::COLUMNS / LANES;
  static constexpr int MOST_ROWS = PANEL == 2 ? panels::MOST_ROWS : panels::MOST_SUMS;
  static constexpr int PAIRED_ROWS = 0;

  // Vectors of sums that a tile has of each row at a time: of all columns, or if registers do not hold
  // them of one, so that weights, unpacked once, meet as many rows as can be.
  template <int ROWS>
  static constexpr int WIDTH_OF = ROWS * PANEL <= panels::MOST_SUMS ? PANEL : 1;

  template <int ROWS>
  void tile(int64_t row, int64_t panel, float* totals) const {
    using namespace panels;
    constexpr int WIDTH = WIDTH_OF<ROWS>;
    std::fill_n(totals, ROWS * COLUMNS, 0.0f);
    for (int column = 0; column < COLUMNS; column += WIDTH * LANES) {
      const uint8_t* at = packed + panel * COLUMNS * (k / 2) + 4 * column;
      const int8_t* values = x.codes + row * k;
      for (int64_t g = 0; g < x.groups; ++g) {
        Counts sums[ROWS][WIDTH] = {};
        for (int64_t eights = group / 8; eights > 0;) {
          const int64_t some = std::min<int64_t>(eights, MOST_QUADS / 2);
          add_eights(sums, at, values, some);
          at += some * 4 * COLUMNS;
          values += some * 8;
          eights -= some;
        }
        finish_group(sums, row, panel, g, column, totals);
      }
    }
  }

 private:
  // `count` times eight inputs, as many as a Partial has room for.
  template <int ROWS, int WIDTH>
  void add_eights(Counts (&sums)[ROWS][WIDTH], const uint8_t* at, const int8_t* values,
                  int64_t count) const {
    Partial partial[ROWS][WIDTH] = {};
    for (int64_t i = 0; i < count; ++i, at += 4 * panels::COLUMNS, values += 8) {
      for (int line = 0; line < WIDTH * 4 * LANES; line += 64) panels::prefetch_ahead(at + line);
#pragma GCC unroll 4
      for (int v = 0; v < WIDTH; ++v) {
        const NibbleBytes both = load_nibble_bytes(at + v * 4 * LANES);
        const NibbleBytes low = nibble_bytes<0>(both), high = nibble_bytes<1>(both);
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; ++r) {
          partial[r][v] = add_products(partial[r][v], low, values + r * k);
          partial[r][v] = add_products(partial[r][v], high, values + r * k + 4);
        }
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < WIDTH; ++v) sums[r][v] = fold(sums[r][v], partial[r][v]);
    }
  }

  template <int ROWS, int WIDTH>
  void finish_group(const Counts (&sums)[ROWS][WIDTH], int64_t row, int64_t panel, int64_t g,
                    int column, float* totals) const {
    const int64_t of_x = row * x.groups + g, of_w = (panel * x.groups + g) * panels::COLUMNS;
#pragma GCC unroll 4
    for (int v = 0; v < WIDTH; ++v) {
      const int in_panel = column + v * LANES;
      const Sums scale = load_half(scales + of_w + in_panel);
      const Sums shift = load_signed(shifts + of_w + in_panel) - 8;
      const float *x_sum = x.sums + of_x, *x_scale = x.scales + of_x;
      float* to = totals + in_panel;
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) {
        const Sums exact = multiply_add(to_float(sums[r][v]), *x_sum, shift);
        store(to, multiply_add(load(to), product(exact, broadcast(*x_scale)), scale));
        x_sum += x.groups, x_scale += x.groups, to += panels::COLUMNS;
      }
    }
  }
};
