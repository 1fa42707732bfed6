// Weights in e4m3, a scale a row of each group along k, times rows of x rounded to e4m3 with a scale a
// group of their own, or one that is given: kernels/reference/fp8.py. Where nothing multiplies e4m3 its
// numbers are widened, which is exact.
//
// Scales, float32, lie as [panels, groups, COLUMNS]. k: to whole fours.

#pragma once

#include <cfloat>

#include "bytes.h"
#include "group_sums.h"

// x [m, k] in e4m3, widened, and its scales.
struct Fp8Inputs {
  Inputs codes;
  const float* scales;  // [m, groups]
  int64_t groups;

  static int64_t padded(int64_t k) { return panels::divide_up(k, 4) * 4; }

  static int64_t prepared_bytes(int64_t m, int64_t k, int64_t group) {
    return codes_bytes(m, k) + m * panels::divide_up(k, group) * (int64_t)sizeof(float);
  }

  static Fp8Inputs of(const void* prepared, int64_t m, int64_t k, int64_t group) {
    return {{(const Input*)prepared, padded(k)},
            (const float*)((const char*)prepared + codes_bytes(m, k)),
            panels::divide_up(k, group)};
  }

  // Rows first … last of x. given: the scale of all groups, or null.
  static void prepare(const bf16* x, int64_t m, int64_t k, int64_t group, const float* given,
                      void* prepared, int64_t first, int64_t last) {
    const Fp8Inputs to = of(prepared, m, k, group);
    for (int64_t row = first; row < last; ++row) {
      Input* const codes = (Input*)to.codes.x + row * to.codes.stride;
      for (int64_t g = 0; g < to.groups; ++g) {
        const int64_t at = g * group, count = std::min(group, k - at);
        ((float*)to.scales)[row * to.groups + g] =
            quantize(x + row * k + at, count, given, codes + at);
      }
      std::fill(codes + k, codes + to.codes.stride, (Input)0);
    }
  }

 private:
  static constexpr float LARGEST = 448;

  static int64_t codes_bytes(int64_t m, int64_t k) {
    return (m * padded(k) * (int64_t)sizeof(Input) + 63) / 64 * 64;
  }

  // One group, as `quantize_activations` in kernels/fp8.py says it; returns its scale.
  static float quantize(const bf16* x, int64_t count, const float* given, Input* codes) {
    // A NaN has the largest bits.
    bf16 most = 0;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < count; ++i) most = std::max<bf16>(most, x[i] & 0x7fff);
    if (most >= 0x7f80) {  // infinity or NaN: so is what comes of it, whatever the codes
      std::fill(codes, codes + count, (Input)0);
      return widen((bf16)0x7fc0);
    }
    const float step = given ? *given : std::max(FLT_MIN, widen(most) / LARGEST);
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const float value = std::min(std::max(widen(x[i]) / step, -LARGEST), LARGEST);
      codes[i] = to_input(nearest(value));
    }
    return step;
  }

  // Of e4m3, ties to even. With a number's power of two, of those that have none the least, adding
  // 1.5 · 2²⁰ times as much leaves three bits of a fraction. By way of the code, as a cache's are made,
  // a prompt took 9 % longer.
  static float nearest(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= 0x7f800000;
    float power;
    std::memcpy(&power, &bits, sizeof power);
    const float shift = std::max(power, 0x1p-6f) * 1572864.0f;
    return (value + shift) - shift;
  }

  static Input to_input(float code) {
    if constexpr (Inputs::WIDENED) return (Input)code;
    uint32_t bits;
    std::memcpy(&bits, &code, sizeof bits);
    return (Input)(bits >> 16);
  }
};

struct Fp8Groups {
  Fp8Inputs x;
  const float* scales;

  float begin(int64_t, int64_t) const { return 0; }

  Sums scale(int64_t panel, int64_t g, int column) const {
    return load(scales + (panel * x.groups + g) * panels::COLUMNS + column);
  }

  void add(float* total, Sums sum, Sums by, int64_t row, int64_t g) const {
    add_group(total, product(sum, broadcast(x.scales[row * x.groups + g])), by, g == 0);
  }
};

using Fp8Map = ByteMap<E4m3Weights, Fp8Groups>;
