// How weights of a byte in groups along k are walked, whatever their codes count and however groups are
// scaled.
//
// Panels of [k / INPUTS, COLUMNS, INPUTS] bytes, as `Bytes` reads them (simd_codes.h); past the last input
// they are zero. The last group may be shorter.
//
// Groups: group_sums.h.

#pragma once

#include "panels.h"
#include "simd_codes.h"

template <class Bytes, class Groups>
struct ByteMap {
  Inputs inputs;  // to a whole step of inputs
  const uint8_t* packed;
  Groups groups;
  int64_t k, group;  // k a multiple of INPUTS; so is group, but for one of all inputs
  // Of the registers, weights as they are read and as they are multiplied need some more.
  static constexpr int MOST_ROWS = std::min(panels::TILE_ROWS, 12);
  static constexpr int PAIRED_ROWS = 0;

  template <int ROWS>
  void tile(int64_t row, int64_t panel, float* totals) const {
    using namespace panels;
    constexpr int WIDTH = VECTORS<ROWS>, INPUTS = Bytes::INPUTS;
    const Bytes weights;
    for (int column = 0; column < COLUMNS; column += WIDTH * LANES) {
      const uint8_t* at = packed + panel * COLUMNS * k + INPUTS * column;
      const Input* values = inputs.x + row * inputs.stride;
      for (int64_t first = 0, g = 0; first < k; first += group, ++g) {
        Sums sums[ROWS][WIDTH];
        for (int r = 0; r < ROWS; ++r) {
          const Sums beginning = broadcast(groups.begin(row + r, g));
          for (Sums& sum : sums[r]) sum = beginning;
        }
        const int64_t steps = std::min(group, k - first) / INPUTS;
        for (int64_t i = 0; i < steps; ++i, at += INPUTS * COLUMNS, values += INPUTS) {
          for (int line = 0; line < INPUTS * COLUMNS; line += 64) prefetch_ahead(at + line);
          step<0>(sums, weights, at, values);
        }
        finish_group(sums, row, panel, g, column, totals);
      }
    }
  }

  int64_t group_inputs() const { return group; }

  // Inputs first … first + count of a panel as pairs of numbers. A template: where bfloat16 is multiplied
  // nobody asks, and bytes have no `widen_pairs`.
  template <class Wide = Bytes>
  const bf16* pairs(int64_t panel, int64_t first, int64_t count, bf16* room) const {
    using panels::COLUMNS;
    const uint8_t* at = packed + COLUMNS * (panel * k + first);
    bf16* to = room;
    for (int64_t i = 0; i < count; i += 4, at += 4 * COLUMNS, to += 4 * COLUMNS) {
      for (int line = 0; line < 4 * COLUMNS; line += 64) panels::prefetch_ahead(at + line);
      Wide::widen_pairs(at, to, to + 2 * COLUMNS);
    }
    return room;
  }

 private:
  template <int PART, int ROWS, int WIDTH>
  void step(Sums (&sums)[ROWS][WIDTH], const Bytes& weights, const uint8_t* at,
            const Input* values) const {
    Factors wide[WIDTH];
    weights.template widen<PART>(at, wide);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      const Factors value = spread<PART>(values + r * inputs.stride);
#pragma GCC unroll 4
      for (int v = 0; v < WIDTH; ++v) sums[r][v] = multiply_add(sums[r][v], wide[v], value);
    }
    if constexpr (PART + 1 < Bytes::PARTS) step<PART + 1>(sums, weights, at, values);
  }

  template <int ROWS, int WIDTH>
  void finish_group(Sums (&sums)[ROWS][WIDTH], int64_t row, int64_t panel, int64_t g, int column,
                    float* totals) const {
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) Bytes::in_order(sums[r]);
#pragma GCC unroll 4
    for (int v = 0; v < WIDTH; ++v) {
      const int in_panel = column + v * LANES;
      const auto scale = groups.scale(panel, g, in_panel);
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) {
        groups.add(totals + r * panels::COLUMNS + in_panel, sums[r][v], scale, row + r, g);
      }
    }
  }
};
