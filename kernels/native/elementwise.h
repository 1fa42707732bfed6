// What a decoder layer does between its products, a row at a time: mostly plain loops, for the compiler
// to make vectors of.

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

// total = x + total, rounded, and y its norm; y may be x.
inline void add_rms_norm(const bf16* x, bf16* total, const bf16* weight, bf16* y, int64_t size,
                         float eps) {
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) total[i] = narrow(widen(total[i]) + widen(x[i]));
  rms_norm(total, weight, y, size, eps);
}

// y = silu(gate) · up, rounded once. Of the plain loop compilers make a third of this speed.
inline void silu_mul(const bf16* gate, const bf16* up, bf16* y, int64_t size) {
  auto lanes = [](const bf16* gate, const bf16* up, bf16* y) {
    const Sums x = load_wide(gate);
    const Ints negative = x < 0.0f;
    // e^-|x| never overflows.
    const Sums power = exponential(negative ? x : -x);
    const Sums sigmoid = (negative ? power : broadcast(1.0f)) / (1.0f + power);
    store_narrow(y, x * sigmoid * load_wide(up));
  };
  int64_t i = 0;
  for (; i + LANES <= size; i += LANES) lanes(gate + i, up + i, y + i);
  if (i == size) return;
  bf16 tail[3][LANES] = {};
  const int64_t bytes = (size - i) * (int64_t)sizeof(bf16);
  std::memcpy(tail[0], gate + i, bytes);
  std::memcpy(tail[1], up + i, bytes);
  lanes(tail[0], tail[1], tail[2]);
  std::memcpy(y + i, tail[2], bytes);
}

// One head; each product is rounded before the sum, as PyTorch's operators round it. y may be x.
inline void rope(const bf16* x, const bf16* cos, const bf16* sin, bf16* y, int64_t half) {
  auto product = [](bf16 a, bf16 b) { return widen(narrow(widen(a) * widen(b))); };
#pragma omp simd
  for (int64_t i = 0; i < half; ++i) {
    const bf16 first = x[i], second = x[half + i];
    y[i] = narrow(product(first, cos[i]) - product(second, sin[i]));
    y[half + i] = narrow(product(second, cos[i]) + product(first, sin[i]));
  }
}

// Queries, keys and values of a token, [heads + 2 · kv_heads, 2 · half] in a row: queries are
// rotated where they lie, keys and values go to their slot. Norms may be null.
struct Rotation {
  const bf16 *q_norm, *k_norm;  // [2 · half]
  float eps;
  const bf16 *cos, *sin;  // [tokens, half]
  int64_t heads, kv_heads, half;
};

inline void rope_cache_write(const Rotation& r, int64_t token, bf16* qkv, bf16* k_slot,
                             bf16* v_slot) {
  const int64_t size = 2 * r.half;
  const bf16 *cos = r.cos + token * r.half, *sin = r.sin + token * r.half;
  auto rotate = [&](bf16* x, const bf16* norm, bf16* y) {
    if (norm) rms_norm(x, norm, x, size, r.eps);
    rope(x, cos, sin, y, r.half);
  };
  for (int64_t h = 0; h < r.heads; ++h, qkv += size) rotate(qkv, r.q_norm, qkv);
  for (int64_t h = 0; h < r.kv_heads; ++h, qkv += size) rotate(qkv, r.k_norm, k_slot + h * size);
  std::memcpy(v_slot, qkv, r.kv_heads * size * sizeof(bf16));
}
