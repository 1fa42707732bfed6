// What a decoder layer does between its products, a row at a time: plain loops, for the compiler to
// make vectors of.

#pragma once

#include <cmath>

#include "bf16.h"
#include "exponential.h"

// y = x / sqrt(mean(x²) + eps) · weight, rounded once.
inline void rms_norm(const bf16* x, const bf16* weight, bf16* y, int64_t size, float eps) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < size; ++i) squares += widen(x[i]) * widen(x[i]);
  const float scale = 1 / std::sqrt(squares / (float)size + eps);
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) y[i] = narrow(widen(x[i]) * scale * widen(weight[i]));
}

// y = silu(gate) · up, rounded once.
inline void silu_mul(const bf16* gate, const bf16* up, bf16* y, int64_t size) {
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) {
    const float value = widen(gate[i]);
    y[i] = narrow(value / (1 + exponential(-value)) * widen(up[i]));
  }
}

// One head; each product is rounded before the sum, as PyTorch's operators round it.
inline void rope(const bf16* x, const bf16* cos, const bf16* sin, bf16* y, int64_t half) {
  auto product = [](bf16 a, bf16 b) { return widen(narrow(widen(a) * widen(b))); };
#pragma omp simd
  for (int64_t i = 0; i < half; ++i) {
    y[i] = narrow(product(x[i], cos[i]) - product(x[half + i], sin[i]));
    y[half + i] = narrow(product(x[half + i], cos[i]) + product(x[i], sin[i]));
  }
}
