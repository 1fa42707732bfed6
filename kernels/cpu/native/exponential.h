#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

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
