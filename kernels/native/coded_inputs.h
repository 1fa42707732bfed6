// x rounded to eight bits: a scale for each run of inputs, the largest of which is ±127.

#pragma once

#include <algorithm>
#include <cfloat>
#include <cstdint>

#include "bf16.h"

// `count` inputs, as `quantize_rows` of kernels/w8a8.py says it; returns the sum of their codes.
template <class Code>
int32_t round_to_codes(const bf16* x, int64_t count, Code* codes, float* scale) {
  // A NaN has the largest bits, so that the scale becomes one.
  bf16 most = 0;
#pragma omp simd reduction(max : most)
  for (int64_t i = 0; i < count; ++i) most = std::max<bf16>(most, x[i] & 0x7fff);
  if (most >= 0x7f80) {  // infinity or NaN: so is what comes of it, whatever the codes
    *scale = widen((bf16)0x7fc0);
    std::fill(codes, codes + count, (Code)0);
    return 0;
  }
  int32_t sum = 0;
  const float step = *scale = std::max(FLT_MIN, widen(most) / 127);
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) {
    // To nearest, ties to even: adding 1.5 · 2²³ leaves no bits for a fraction.
    const float nearest = (widen(x[i]) / step + 12582912.0f) - 12582912.0f;
    const int32_t code = (int32_t)nearest;
    codes[i] = (Code)code;
    sum += code;
  }
  return sum;
}

// Rows of x in groups: codes [m, k], of each group the scale and the sum of its codes, [m, k / group].
struct CodedInputs {
  const int8_t* codes;
  const float* scales;
  const float* sums;
  int64_t k, groups;

  static int64_t prepared_bytes(int64_t m, int64_t k, int64_t group) {
    return codes_bytes(m, k) + 2 * m * (k / group) * (int64_t)sizeof(float);
  }

  static CodedInputs of(const void* prepared, int64_t m, int64_t k, int64_t group) {
    const auto* scales = (const float*)((const char*)prepared + codes_bytes(m, k));
    return {(const int8_t*)prepared, scales, scales + m * (k / group), k, k / group};
  }

  // Rows first … last of x to `prepared`.
  static void prepare(const bf16* x, int64_t m, int64_t k, int64_t group, void* prepared,
                      int64_t first, int64_t last) {
    const CodedInputs to = of(prepared, m, k, group);
    for (int64_t i = first * to.groups; i < last * to.groups; ++i) {
      ((float*)to.sums)[i] = (float)round_to_codes(x + i * group, group, (int8_t*)to.codes + i * group,
                                                   (float*)to.scales + i);
    }
  }

 private:
  static int64_t codes_bytes(int64_t m, int64_t k) { return (m * k + 63) / 64 * 64; }
};
