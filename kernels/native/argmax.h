// The place of the largest of a row.

#pragma once

#include <algorithm>
#include <atomic>
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

// The order of a row's largest element. size >= 1.
inline int16_t largest_order(const bf16* x, int64_t size) {
  int16_t most = INT16_MIN;
#pragma omp simd reduction(max : most)
  for (int64_t i = 0; i < size; ++i) most = std::max(most, order(x[i]));
  return most;
}

// The first element of this order, which is there.
inline int64_t first_of(const bf16* x, int64_t size, int16_t most) {
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

// Whether an element of this order is no finite number, so that nothing is the likeliest beside it.
inline bool is_endless(int16_t most) { return most >= INFINITE || most == -INFINITE; }

// The first of the largest elements; -1 where that is no finite number. size >= 1.
inline int64_t argmax(const bf16* x, int64_t size) {
  const int16_t most = largest_order(x, size);
  return is_endless(most) ? -1 : first_of(x, size, most);
}

// The same of a row that several threads make, a part each, while it is in their caches.
class alignas(64) Argmax {
 public:
  // Elements first … last of row x are there.
  void learn(const bf16* x, int64_t first, int64_t last) {
    if (first == last) return;
    const int16_t most = largest_order(x + first, last - first);
    uint64_t known = best_.load(std::memory_order_relaxed);
    if (rank(most, 0) <= known) return;
    const uint64_t found = rank(most, first + first_of(x + first, last - first, most));
    while (known < found && !best_.compare_exchange_weak(known, found, std::memory_order_relaxed)) {
    }
  }

  // Of all that was learnt, at least one element.
  int64_t place() const {
    const uint64_t best = best_.load(std::memory_order_relaxed);
    const int16_t most = (int16_t)((int32_t)(best >> PLACE_BITS) + INT16_MIN);
    return is_endless(most) ? -1 : (int64_t)(~best & PLACES);
  }

 private:
  static constexpr int PLACE_BITS = 48;
  static constexpr uint64_t PLACES = ((uint64_t)1 << PLACE_BITS) - 1;

  // More for a larger element, and among equals for an earlier one.
  static uint64_t rank(int16_t most, int64_t place) {
    return (uint64_t)((int32_t)most - INT16_MIN) << PLACE_BITS | (~(uint64_t)place & PLACES);
  }

  std::atomic<uint64_t> best_{0};  // less than any rank
};
