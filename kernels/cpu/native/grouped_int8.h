// Eight-bit weights in groups along k, times x as it is: W = (q - zero) · scale,
// kernels/reference/w8a16.py.
//
// Panels of [k / INPUTS, COLUMNS, INPUTS] bytes, as `ByteWeights` (simd_codes.h) reads them: q - MIDDLE.
// With D the sum of x · (q - MIDDLE) over a group and X that of x, the group adds
// scale · (D + (MIDDLE - zero) · X).
//
// Scales, float32, and 128 - zero, int16, lie as [panels, k / group, COLUMNS].

#pragma once

#include "int4.h"
#include "panels.h"
#include "simd_codes.h"

struct GroupedInt8Map {
  Inputs inputs;
  const float* group_sums;  // of x, [m, k / group]: Int4Map::prepare
  const uint8_t* packed;
  const float* scales;
  const int16_t* shifts;
  int64_t k, group;
  const int64_t groups = k / group;
  static constexpr int MOST_ROWS = Int4Map::MOST_ROWS;
  static constexpr int PAIRED_ROWS = 0;

  template <int ROWS>
  void tile(int64_t row, int64_t panel, float* totals) const {
    using namespace panels;
    constexpr int WIDTH = VECTORS<ROWS>, INPUTS = ByteWeights::INPUTS;
    const int64_t steps = group / INPUTS;
    const ByteWeights weights;
    for (int column = 0; column < COLUMNS; column += WIDTH * LANES) {
      const uint8_t* at = packed + panel * COLUMNS * k + INPUTS * column;
      const Input* values = inputs.x + row * inputs.stride;
      for (int64_t g = 0; g < groups; ++g) {
        Sums sums[ROWS][WIDTH];
        for (int r = 0; r < ROWS; ++r) {
          const Sums beginning = broadcast(begin(row + r, g));
          for (Sums& sum : sums[r]) sum = beginning;
        }
        for (int64_t i = 0; i < steps; ++i, at += INPUTS * COLUMNS, values += INPUTS) {
          for (int line = 0; line < INPUTS * COLUMNS; line += 64) prefetch_ahead(at + line);
          step<0>(sums, weights, at, values);
        }
        finish_group(sums, row, panel, g, column, totals);
      }
    }
  }

  int64_t group_inputs() const { return group; }

  // Not a product with zero, which makes a NaN of an infinity.
  float begin(int64_t row, int64_t g) const {
    return ByteWeights::BEGIN == 0 ? 0 : ByteWeights::BEGIN * sum_of_x(row, g);
  }

  // Inputs first … first + count of a panel as pairs of numbers. A template: where bfloat16 is multiplied
  // nobody asks, and bytes have no `widen_pairs`.
  template <class Bytes = ByteWeights>
  const bf16* pairs(int64_t panel, int64_t first, int64_t count, bf16* room) const {
    using panels::COLUMNS;
    const uint8_t* at = packed + COLUMNS * (panel * k + first);
    bf16* to = room;
    for (int64_t i = 0; i < count; i += 4, at += 4 * COLUMNS, to += 4 * COLUMNS) {
      for (int line = 0; line < 4 * COLUMNS; line += 64) panels::prefetch_ahead(at + line);
      Bytes::widen_pairs(at, to, to + 2 * COLUMNS);
    }
    return room;
  }

  GroupScale scale(int64_t panel, int64_t g, int column) const {
    const int64_t at = (panel * groups + g) * panels::COLUMNS + column;
    return {load(scales + at), load_signed(shifts + at) - (128 - ByteWeights::MIDDLE)};
  }

  void add_group(float* total, Sums sum, const GroupScale& of, int64_t row, int64_t g) const {
    of.add(total, sum, sum_of_x(row, g), g == 0);
  }

 private:
  template <int PART, int ROWS, int WIDTH>
  void step(Sums (&sums)[ROWS][WIDTH], const ByteWeights& weights, const uint8_t* at,
            const Input* values) const {
    Factors wide[WIDTH];
    weights.widen<PART>(at, wide);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      const Factors value = spread<PART>(values + r * inputs.stride);
#pragma GCC unroll 4
      for (int v = 0; v < WIDTH; ++v) sums[r][v] = multiply_add(sums[r][v], wide[v], value);
    }
    if constexpr (PART + 1 < ByteWeights::PARTS) step<PART + 1>(sums, weights, at, values);
  }

  float sum_of_x(int64_t row, int64_t g) const { return group_sums[row * groups + g]; }

  template <int ROWS, int WIDTH>
  void finish_group(Sums (&sums)[ROWS][WIDTH], int64_t row, int64_t panel, int64_t g, int column,
                    float* totals) const {
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) ByteWeights::in_order(sums[r]);
#pragma GCC unroll 4
    for (int v = 0; v < WIDTH; ++v) {
      const int in_panel = column + v * LANES;
      const GroupScale of_group = scale(panel, g, in_panel);
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) {
        float* to = totals + r * panels::COLUMNS + in_panel;
        add_group(to, sums[r][v], of_group, row + r, g);
      }
    }
  }
};
