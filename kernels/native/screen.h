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
  int64_t most_rows;    // of x, for which it is used; 0: there is none
};

// Of a row of x: its norm, and what its largest element is not below.
class alignas(64) ScreenedRow {
 public:
  ScreenedRow(const bf16* x, int64_t k) : norm_(norm(x, k)), least_(-INFINITE_FLOAT) {}

  // From columns of y, made of codes.
  void learn(const bf16* y, const float* errors, int64_t columns) {
    float most = -INFINITE_FLOAT;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < columns; ++i) {
      const float value = widen(y[i]), least = value - margin(value, errors[i]);
      most = least > most ? least : most;  // a NaN is not
    }
    float known = least_.load(std::memory_order_relaxed);
    while (known < most && !least_.compare_exchange_weak(known, most, std::memory_order_relaxed)) {
    }
  }

  // Whether one of these columns may hold the largest, as far as all that was learnt says.
  bool may_be_in(const bf16* y, const float* errors, int64_t columns) const {
    const float least = least_.load(std::memory_order_relaxed);
    int found = 0;
#pragma omp simd reduction(| : found)
    for (int64_t i = 0; i < columns; ++i) {
      const float value = widen(y[i]);
      found |= !(value + margin(value, errors[i]) < least);  // of a NaN nothing is known
    }
    return found;
  }

 private:
  static constexpr float INFINITE_FLOAT = std::numeric_limits<float>::infinity();

  // At double precision no square of a bfloat16 is lost.
  static float norm(const bf16* x, int64_t k) {
    double squares = 0;
    for (int64_t i = 0; i < k; ++i) squares += (double)widen(x[i]) * widen(x[i]);
    return (float)std::sqrt(squares);
  }

  // How far y, in bfloat16, can be from the map's own element, in bfloat16: each was rounded by up to
  // 2^-8 of itself. Numbers so small that the processor takes them for zero make up the last term.
  float margin(float y, float error) const {
    return error * norm_ + 2.1f / 256 * std::fabs(y) + 1e-32f;
  }

  const float norm_;
  std::atomic<float> least_;
};
