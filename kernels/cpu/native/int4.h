// Four-bit weights in groups along k: W = (q - zero) · scale, kernels/reference/w4a16.py.
//
// Panels of [k / 8, COLUMNS, 4] bytes: eight inputs of a column in 32 bits, of which the lower half
// holds the even ones and the upper half the odd ones, four bits each, so that one shift brings a
// pair to the bottom of its halves. There it is read as q - 8, which bfloat16 holds exactly. With D
// the sum of x · (q - 8) over a group and X that of x, the group adds scale · (D + (8 - zero) · X).
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
    using namespace panels;
    const int64_t groups = k / group, eights = group / 8;
    const Levels levels = nibble_levels();
    for (int column = 0; column < COLUMNS; column += PASS) {
      const uint8_t* at = packed + panel * COLUMNS * (k / 2) + 4 * column;
      const bf16* values = x + row * k;
      for (int64_t g = 0; g < groups; ++g) {
        Sums sums[ROWS][VECTORS];
        for (auto& of_row : sums) {
          for (Sums& sum : of_row) sum = zero();
        }
        for (int64_t eight = 0; eight < eights; ++eight, at += 4 * COLUMNS, values += 8) {
          prefetch_ahead(at);
          prefetch_ahead(at + 64);
          Nibbles nibbles[VECTORS];
          for (int v = 0; v < VECTORS; ++v) nibbles[v] = load_nibbles(at + v * 4 * LANES);
          step<ROWS, 0>(sums, nibbles, levels, values);
          step<ROWS, 1>(sums, nibbles, levels, values);
          step<ROWS, 2>(sums, nibbles, levels, values);
          step<ROWS, 3>(sums, nibbles, levels, values);
        }
        const int64_t of_group = (panel * groups + g) * COLUMNS + column;
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; ++v) {
          const Sums scale = load_half(scales + of_group + v * LANES);
          const Sums shift = load_signed(shifts + of_group + v * LANES);
#pragma GCC unroll 16
          for (int r = 0; r < ROWS; ++r) {
            float* total = totals + r * COLUMNS + column + v * LANES;
            const float x_sum = group_sums[(row + r) * groups + g];
            const Sums sum = multiply_add(sums[r][v], x_sum, shift);
            store(total, g ? multiply_add(load(total), sum, scale) : product(sum, scale));
          }
        }
      }
    }
  }

 private:
  template <int ROWS, int I>
  void step(Sums (&sums)[ROWS][panels::VECTORS], const Nibbles (&nibbles)[panels::VECTORS],
            const Levels& levels, const bf16* values) const {
    Pairs weights[panels::VECTORS];
    for (int v = 0; v < panels::VECTORS; ++v) weights[v] = widen_pair<I>(nibbles[v], levels);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      const Pairs value = broadcast(values + r * k + 2 * I);
#pragma GCC unroll 2
      for (int v = 0; v < panels::VECTORS; ++v) {
        sums[r][v] = multiply_add(sums[r][v], weights[v], value);
      }
    }
  }
};
