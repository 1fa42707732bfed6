// Four-bit weights in groups along k: W = (q - zero) · scale, kernels/reference/w4a16.py. Codes count as
// q - 8 (group_sums.h).
//
// Scales, float16, and 8 - zero, int8, lie as [panels, k / group, COLUMNS].

#pragma once

#include "group_sums.h"
#include "nibbles.h"

struct W4A16Groups {
  InputSums x;
  const uint16_t* scales;
  const int8_t* shifts;

  float begin(int64_t row, int64_t g) const { return -(Integers::BIAS + 8) * x.of(row, g); }

  ShiftedScale scale(int64_t panel, int64_t g, int column) const {
    const int64_t at = (panel * x.groups + g) * panels::COLUMNS + column;
    return {load_half(scales + at), load_signed(shifts + at)};
  }

  void add(float* total, Sums sum, const ShiftedScale& by, int64_t row, int64_t g) const {
    by.add(total, sum, x.of(row, g), g == 0);
  }
};

using W4A16Map = NibbleMap<Integers, W4A16Groups>;
