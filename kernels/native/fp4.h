// Weights in e2m1 in groups along k with a scale each, times x as it is: kernels/reference/fp4.py.
//
// Scales, bfloat16, which holds each of e4m3 and of e8m0, lie as [panels, k / group, COLUMNS]; the factors
// of rows, float32, as [panels, COLUMNS].

#pragma once

#include "group_sums.h"
#include "nibbles.h"

struct Fp4Groups {
  const bf16* scales;
  const float* row_factors;
  int64_t count;

  float begin(int64_t, int64_t) const { return 0; }

  Sums scale(int64_t panel, int64_t g, int column) const {
    using panels::COLUMNS;
    return product(load_wide(scales + (panel * count + g) * COLUMNS + column),
                   load(row_factors + panel * COLUMNS + column));
  }

  void add(float* total, Sums sum, Sums by, int64_t, int64_t g) const {
    add_group(total, sum, by, g == 0);
  }
};

using Fp4Map = NibbleMap<E2m1, Fp4Groups>;
