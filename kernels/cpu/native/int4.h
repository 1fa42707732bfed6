// Four-bit weights in groups along k: W = (q - zero) · scale, kernels/reference/w4a16.py.
//
// Panels of [k / 8, COLUMNS, 4] bytes: eight inputs of a column in 32 bits, of which the lower half
// holds the even ones and the upper half the odd ones, four bits each, so that one shift brings a
// pair to the bottom of its halves. There it is read as q + 128 (simd_int4.h). With D the sum of
// x · (q - 8) over a group and X that of x, the group adds scale · (D + (8 - zero) · X): sums begin at
// -136 · X and end at D.
//
// Scales, float16, and 8 - zero, int8, lie as [panels, k / group, COLUMNS].

#pragma once

#include "panels.h"
#include "simd_int4.h"

struct Int4Map {
  const bf16* x;  // [m, k]
  const uint8_t* packed;
  const uint16_t* scales;
  const int8_t* shifts;
  int64_t k, group;
  const float* group_sums;  // of x, [m, k / group]
  // Of the registers, weights as they are read and as they are multiplied need some more.
  static constexpr int MOST_ROWS = std::min(panels::MOST_ROWS, 12);

  static int64_t prepared_bytes(int64_t m, int64_t k, int64_t group) {
    return m * (k / group) * (int64_t)sizeof(float);
  }

  static void prepare(const bf16* x, int64_t k, int64_t group, void* prepared, int64_t first,
                      int64_t last) {
    float* sums = (float*)prepared + first * (k / group);
    const bf16* end = x + last * k;
    for (const bf16* at = x + first * k; at < end; at += group, ++sums) {
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < group; ++i) sum += widen(at[i]);
      *sums = sum;
    }
  }

  template <int ROWS>
  void tile(int64_t row, int64_t panel, float* totals) const {
    some_panels<ROWS, 1>(row, panel, totals);
  }

  // Of one row the sums of a panel wait for each other, and so two panels go side by side.
  static constexpr int PAIRED_ROWS = 1;

  template <int ROWS>
  void tile_of_two(int64_t row, int64_t panel, float* totals) const {
    some_panels<ROWS, 2>(row, panel, totals);
  }

 private:
  // totals [PANELS, ROWS, COLUMNS].
  template <int ROWS, int PANELS>
  void some_panels(int64_t row, int64_t panel, float* totals) const {
    using namespace panels;
    constexpr int WIDTH = PANELS * VECTORS;  // vectors, those of a panel one behind the other
    const int64_t groups = k / group, eights = group / 8, panel_bytes = COLUMNS * (k / 2);
    for (int column = 0; column < COLUMNS; column += PASS) {
      const uint8_t* at = packed + panel * panel_bytes + 4 * column;
      const uint8_t* end = packed + (panel + 1) * panel_bytes;
      const bf16* values = x + row * k;
      for (int64_t g = 0; g < groups; ++g) {
        Sums sums[ROWS][WIDTH];
        for (int r = 0; r < ROWS; ++r) {
          const Sums begin = broadcast(-(NIBBLE_BIAS + 8) * group_sums[(row + r) * groups + g]);
          for (Sums& sum : sums[r]) sum = begin;
        }
        for (int64_t eight = 0; eight < eights; ++eight, at += 4 * COLUMNS, values += 8) {
          const int64_t ahead = bytes_ahead<PANELS>(at, end, panel_bytes);
          Nibbles nibbles[WIDTH];
#pragma GCC unroll 2
          for (int p = 0; p < PANELS; ++p) {
            const uint8_t* of_panel = at + p * panel_bytes;
            prefetch(of_panel, ahead);
            prefetch(of_panel + 64, ahead);
            for (int v = 0; v < VECTORS; ++v) {
              nibbles[p * VECTORS + v] = load_nibbles(of_panel + v * 4 * LANES);
            }
          }
          step<ROWS, WIDTH, 0>(sums, nibbles, values);
          step<ROWS, WIDTH, 1>(sums, nibbles, values);
          step<ROWS, WIDTH, 2>(sums, nibbles, values);
          step<ROWS, WIDTH, 3>(sums, nibbles, values);
        }
#pragma GCC unroll 4
        for (int v = 0; v < WIDTH; ++v) {
          const int64_t in_panel = column + v % VECTORS * LANES;
          const int64_t of_group = ((panel + v / VECTORS) * groups + g) * COLUMNS + in_panel;
          const Sums scale = load_half(scales + of_group);
          const Sums shift = load_signed(shifts + of_group);
#pragma GCC unroll 16
          for (int r = 0; r < ROWS; ++r) {
            float* total = totals + (v / VECTORS * ROWS + r) * COLUMNS + in_panel;
            const float x_sum = group_sums[(row + r) * groups + g];
            const Sums sum = multiply_add(sums[r][v], x_sum, shift);
            store(total, g ? multiply_add(load(total), sum, scale) : product(sum, scale));
          }
        }
      }
    }
  }

  template <int ROWS, int WIDTH, int I>
  void step(Sums (&sums)[ROWS][WIDTH], const Nibbles (&nibbles)[WIDTH],
            const bf16* values) const {
    Pairs weights[WIDTH];
    for (int v = 0; v < WIDTH; ++v) weights[v] = widen_pair<I>(nibbles[v]);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      const Pairs value = broadcast(values + r * k + 2 * I);
#pragma GCC unroll 4
      for (int v = 0; v < WIDTH; ++v) {
        sums[r][v] = multiply_add(sums[r][v], weights[v], value);
      }
    }
  }
};
