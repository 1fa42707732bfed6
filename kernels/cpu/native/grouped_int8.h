// Eight-bit weights in groups along k, times x as it is: W = (q - zero) · scale,
// kernels/reference/w8a16.py.
//
// Panels of [k / 2, COLUMNS, 2] bytes, read as q - 127.5, which bfloat16 holds exactly (simd_codes.h).
// With D the sum of x · (q - 127.5) over a group and X that of x, the group adds
// scale · (D + (127.5 - zero) · X).
//
// Scales, float32, and 128 - zero, int16, lie as [panels, k / group, COLUMNS].

#pragma once

#include "int4.h"
#include "panels.h"
#include "simd_codes.h"

struct GroupedInt8Map {
  const bf16* x;  // [m, k]
  const uint8_t* packed;
  const float* scales;
  const int16_t* shifts;
  int64_t k, group;
  const float* group_sums;  // of x, [m, k / group]: Int4Map::prepare
  static constexpr int MOST_ROWS = Int4Map::MOST_ROWS;
  static constexpr int PAIRED_ROWS = 0;
  static_assert(panels::VECTORS == 2, "the halves that `HalfCodes` widens");

  template <int ROWS>
  void tile(int64_t row, int64_t panel, float* totals) const {
    using namespace panels;
    const int64_t groups = k / group, pairs = group / 2;
    const HalfCodes codes;
    for (int column = 0; column < COLUMNS; column += PASS) {
      const uint8_t* at = packed + panel * COLUMNS * k + 2 * column;
      const bf16* values = x + row * k;
      for (int64_t g = 0; g < groups; ++g) {
        Sums sums[ROWS][VECTORS];
        for (auto& of_row : sums) {
          for (Sums& sum : of_row) sum = zero();
        }
        for (int64_t pair = 0; pair < pairs; ++pair, at += 2 * COLUMNS, values += 2) {
          prefetch_ahead(at);
          const HalfCodes::Wide weights = codes.widen(at);
#pragma GCC unroll 16
          for (int r = 0; r < ROWS; ++r) {
            const Pairs value = broadcast(values + r * k);
            sums[r][0] = multiply_add(sums[r][0], weights.low, value);
            sums[r][1] = multiply_add(sums[r][1], weights.high, value);
          }
        }
        finish_group<ROWS>(sums, row, (panel * groups + g) * COLUMNS + column, g,
                           totals + column);
      }
    }
  }

 private:
  template <int ROWS>
  void finish_group(Sums (&sums)[ROWS][panels::VECTORS], int64_t row, int64_t of_group, int64_t g,
                    float* totals) const {
    const int64_t groups = k / group;
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) HalfCodes::in_order(sums[r][0], sums[r][1]);
#pragma GCC unroll 2
    for (int v = 0; v < panels::VECTORS; ++v) {
      const Sums scale = load(scales + of_group + v * LANES);
      const Sums shift = load_signed(shifts + of_group + v * LANES) - 0.5f;
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) {
        float* total = totals + r * panels::COLUMNS + v * LANES;
        const Sums sum = multiply_add(sums[r][v], group_sums[(row + r) * groups + g], shift);
        store(total, g ? multiply_add(load(total), sum, scale) : product(sum, scale));
      }
    }
  }
};
