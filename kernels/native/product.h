#pragma once

#include <cstdint>

#include "bf16.h"

// y = x · Wᵀ + bias. x [m, k], w [n, k], bias [n] or null, y [m, n].
struct Product {
  const bf16* x;
  const bf16* w;
  const bf16* bias;
  bf16* y;
  int64_t m, n, k;
};
