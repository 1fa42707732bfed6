#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "simd.h"

// eˣ to about 1e-7 of itself; x is held within ±87. x = n · ln 2 + f, and the Taylor series of e^f:
// no branch and no call, so that compilers make vectors of it.
inline float exponential(float x) {
  x = std::min(std::max(x, -87.0f), 87.0f);
  // Adding 1.5 · 2²³ leaves no bits for a fraction.
  const float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
  const float f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  const float series =
      1 + f * (1 + f * (1.0f / 2 + f * (1.0f / 6 + f * (1.0f / 24 + f * (1.0f / 120 + f / 720)))));
  const uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return series * power;
}

// The same of each lane, for x <= 0: nothing at all below -87, and a NaN stays one.
inline Sums exponential(Sums x) {
  const Ints lost = x < -87.0f;
  x = lost ? broadcast(-87.0f) : x;
  const Sums shifted = x * 1.44269504f + 12582912.0f;
  const Sums n = shifted - 12582912.0f;
  const Sums f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Sums series = f * (1.0f / 720) + 1.0f / 120;
  series = series * f + 1.0f / 24;
  series = series * f + 1.0f / 6;
  series = series * f + 1.0f / 2;
  series = series * f + 1.0f;
  series = series * f + 1.0f;
  // n stands in the low bits of `shifted`; those above it fall off.
  const Bits power = ((Bits)shifted << 23) + (127u << 23);
  return (Sums)((Bits)(series * (Sums)power) & ~(Bits)lost);
}
