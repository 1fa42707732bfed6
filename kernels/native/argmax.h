// The place of the largest of a row.

#pragma once

#include <algorithm>
#include <cstdint>

#include "bf16.h"

// An integer that orders as the number does: zeros alike, and every NaN above all numbers.
inline int16_t order(bf16 x) {
  const int16_t magnitude = (int16_t)(x & 0x7fff);
  const int16_t signed_magnitude = x >> 15 ? (int16_t)-magnitude : magnitude;
  return magnitude > 0x7f80 ? INT16_MAX : signed_magnitude;
}

// The order of infinity.
constexpr int16_t INFINITE = 0x7f80;

// The first of the largest elements; -1 where that is no finite number. size >= 1.
inline int64_t argmax(const bf16* x, int64_t size) {
  int16_t most = INT16_MIN;
#pragma omp simd reduction(max : most)
  for (int64_t i = 0; i < size; ++i) most = std::max(most, order(x[i]));
  if (most >= INFINITE || most == -INFINITE) return -1;
  // Block by block, so that the search for the block is made of vectors too.
  constexpr int64_t BLOCK = 256;
  int64_t first = 0;
  for (; first + BLOCK < size; first += BLOCK) {
    int found = 0;
#pragma omp simd reduction(| : found)
    for (int64_t i = 0; i < BLOCK; ++i) found |= order(x[first + i]) == most;
    if (found) break;
  }
  while (order(x[first]) != most) ++first;
  return first;
}
