// Which columns of a dense map can hold a row's largest element: a product with the weights in eight
// bits, which reads half of the bytes, and how far it can be from the map's own.
//
// Let W be a row of the weights, C its codes times their scale, and x a row of the inputs. By Cauchy and
// Schwarz x · W and x · C differ by at most |W - C| |x|, and by the roundings of their sums, of which
// `errors` (screen.py) has what is to be multiplied by |x|. Both results are then rounded to bfloat16.
// Where a column's most is below another's least, its element is not the largest, and need not be known.

#pragma once

#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>

#include "weights.h"

// The layout is that of `NativeScreen` in Python.
struct Screen {
  Weights codes;        // of kind W8A16
  const float* errors;  // [n]
  double largest_norm;  // of the map's rows
  int64_t most_rows;    // of x, for which it is used; 0: there is none
};

// The largest element of a row of y = x · Wᵀ: what it is not below, and so where it is not.
class alignas(64) Largest {
 public:
  Largest(const Screen& screen, const bf16* x, int64_t k)
      : errors_(screen.errors), norm_(norm(screen, x, k)), least_(-ENDLESS) {}

  // From columns first … last of y, made of codes.
  void learn(const bf16* y, int64_t first, int64_t last) {
    float most = -ENDLESS;
#pragma omp simd reduction(max : most)
    for (int64_t i = first; i < last; ++i) {
      const float value = widen(y[i]), least = value - margin(value, errors_[i]);
      most = least > most ? least : most;  // a NaN is not
    }
    float known = least_.load(std::memory_order_relaxed);
    while (known < most && !least_.compare_exchange_weak(known, most, std::memory_order_relaxed)) {
    }
  }

  // Whether it may be in one of these columns, as far as all that was learnt says.
  bool may_be_in(const bf16* y, int64_t first, int64_t last) const {
    const float least = least_.load(std::memory_order_relaxed);
    int found = 0;
#pragma omp simd reduction(| : found)
    for (int64_t i = first; i < last; ++i) {
      const float value = widen(y[i]);
      found |= !(value + margin(value, errors_[i]) < least);  // of a NaN nothing is known
    }
    return found;
  }

 private:
  static constexpr float ENDLESS = std::numeric_limits<float>::infinity();

  // In double precision, where no square of a bfloat16 is lost. Where a partial sum of the map's own might
  // leave float32's range, no element is ruled out.
  static float norm(const Screen& screen, const bf16* x, int64_t k) {
    double squares = 0;
    for (int64_t i = 0; i < k; ++i) squares += (double)widen(x[i]) * widen(x[i]);
    const double norm = std::sqrt(squares);
    return norm * screen.largest_norm < 1e38 ? (float)norm : ENDLESS;
  }

  // How far y, in bfloat16, can be from the map's own element, in bfloat16: each was rounded by up to
  // 2^-8 of itself. Products of bfloat16 take numbers below 2^-126 for zero: of x, of codes' sums, which
  // are then scaled, and of the map's own, k of each.
  float margin(float y, float error) const {
    return error * (norm_ + 1e-30f) + 2.1f / 256 * std::fabs(y) + 1e-32f;
  }

  const float* const errors_;
  const float norm_;
  std::atomic<float> least_;
};
