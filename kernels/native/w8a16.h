// Eight-bit weights in groups along k, times x as it is: W = (q - zero) · scale,
// kernels/reference/w8a16.py. Codes count as q - MIDDLE (group_sums.h).
//
// Scales, float32, and 128 - zero, int16, lie as [panels, k / group, COLUMNS].

#pragma once

#include "bytes.h"
#include "group_sums.h"

struct W8A16Groups {
  InputSums x;
  const float* scales;
  const int16_t* shifts;

  // Not a product with zero, which makes a NaN of an infinity.
  float begin(int64_t row, int64_t g) const {
    return ByteWeights::BEGIN == 0 ? 0 : ByteWeights::BEGIN * x.of(row, g);
  }

  ShiftedScale scale(int64_t panel, int64_t g, int column) const {
    const int64_t at = (panel * x.groups + g) * panels::COLUMNS + column;
    return {load(scales + at), load_signed(shifts + at) - (128 - ByteWeights::MIDDLE)};
  }

  void add(float* total, Sums sum, const ShiftedScale& by, int64_t row, int64_t g) const {
    by.add(total, sum, x.of(row, g), g == 0);
  }
};

using W8A16Map = ByteMap<ByteWeights, W8A16Groups>;
