// What a group's sums of products become part of a panel's totals by. A map's `groups` says
//
//   begin(row, g): from what the sums of group g of a row begin,
//   scale(panel, g, column): what LANES columns from `column` on are scaled by, in registers,
//   add(total, sum, scale, row, g): and adds them to LANES totals, which the first group sets.
//
// This file has those of integers with a zero: W = (q - zero) · scale. Where a code counts as q + c and
// lies as q + c + bias, with D the sum of x times what it counts over a group and X that of x, sums begin at
// -bias · X, and the group adds scale · (D - (c + zero) · X).

#pragma once

#include "inputs.h"

// total: LANES totals; first: of the groups.
inline void add_group(float* total, Sums sum, Sums scale, bool first) {
  store(total, first ? product(sum, scale) : multiply_add(load(total), sum, scale));
}

// X of rows of x, [m, k / group] behind their inputs.
struct InputSums {
  const float* sums;
  int64_t groups;

  float of(int64_t row, int64_t g) const { return sums[row * groups + g]; }

  static InputSums behind(const void* prepared, int64_t m, int64_t k, int64_t group) {
    return {(const float*)((const char*)prepared + Inputs::prepared_bytes(m, k)), k / group};
  }

  // Of inputs and sums.
  static int64_t prepared_bytes(int64_t m, int64_t k, int64_t group) {
    return Inputs::prepared_bytes(m, k) + m * (k / group) * (int64_t)sizeof(float);
  }

  static void prepare(const bf16* x, int64_t m, int64_t k, int64_t group, void* prepared,
                      int64_t first, int64_t last) {
    Inputs::prepare(x, k, prepared, first, last);
    float* sums = (float*)behind(prepared, m, k, group).sums + first * (k / group);
    const bf16* end = x + last * k;
    for (const bf16* at = x + first * k; at < end; at += group, ++sums) {
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < group; ++i) sum += widen(at[i]);
      *sums = sum;
    }
  }
};

struct ShiftedScale {
  Sums scale, shift;

  void add(float* total, Sums sum, float x_sum, bool first) const {
    add_group(total, multiply_add(sum, x_sum, shift), scale, first);
  }
};
