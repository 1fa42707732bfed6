// Keys and values of eight bits, as kernels/reference/quantized_kv.py defines them.

#pragma once

#include <algorithm>
#include <cfloat>
#include <vector>

#include "attention_cache.h"
#include "bf16.h"

namespace quantized {

// Adding 1.5 · 2²³ leaves no bits for a fraction, and ties go to even.
inline float nearest(float x) { return (x + 12582912.0f) - 12582912.0f; }

inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// A kind of code: LARGEST, `encode` of a number within it, and `widen`, which is exact.
struct Int8 {
  static constexpr float LARGEST = 127;
  static uint8_t encode(float x) { return (uint8_t)(int32_t)nearest(x); }
  static bf16 widen(uint8_t code) { return (bf16)(bits_of((float)(int8_t)code) >> 16); }
};

// Sign, four bits of exponent with a bias of 7, three of mantissa.
struct E4M3 {
  static constexpr float LARGEST = 448;

  static uint8_t encode(float x) {
    const uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffff;
    // From 2⁻⁶ on, 20 bits of mantissa too many; below, steps of 2⁻⁹.
    const uint32_t normal = ((magnitude + 0x7ffff + (magnitude >> 20 & 1)) >> 20) - (120 << 3);
    const uint32_t subnormal = (uint32_t)(int32_t)nearest(from_bits(magnitude) * 512);
    return (uint8_t)((magnitude < 0x3c800000 ? subnormal : normal) | (bits >> 24 & 0x80));
  }

  // Without an exponent, m / 8 · 2⁻⁶ is first read as (1 + m / 8) · 2⁻⁷. No step has a number so small
  // that a processor may take it for zero.
  static bf16 widen(uint8_t code) {
    const float read = from_bits(((uint32_t)(code & 0x7f) << 20) + (120u << 23));
    const float number = code & 0x78 ? read : 2 * read - 1.0f / 64;
    return (bf16)(bits_of(number) >> 16 | (uint32_t)(code & 0x80) << 8);
  }
};

// One head of one token. A NaN has the largest bits, so that the scale becomes one.
template <class Code>
void quantize(const bf16* x, uint8_t* codes, bf16* scale, int64_t head_dim) {
  uint32_t most = 0;
  for (int64_t d = 0; d < head_dim; ++d) most = std::max<uint32_t>(most, x[d] & 0x7fff);
  *scale = narrow(std::max(widen((bf16)most) / Code::LARGEST, FLT_MIN));
  const float step = widen(*scale);
  for (int64_t d = 0; d < head_dim; ++d) {
    // In this order a NaN, which no integer is, becomes the least code: its scale says what it is.
    const float steps = std::max(-Code::LARGEST, widen(x[d]) / step);
    codes[d] = Code::encode(std::min(steps, Code::LARGEST));
  }
}

// Codes k, v [slots, kv_heads, head_dim] and their scales [slots, kv_heads]. A run's codes are
// widened once for all rows; scales are applied to scores and weights, a product a key instead of
// one an element.
template <class Code>
struct Coded {
  const uint8_t *k, *v;
  const bf16 *k_scales, *v_scales;

  template <class E, class M>
  void read(const AttentionOf<E>& a, int64_t sequence, int64_t head, int64_t first, int64_t end,
            attention::Run<M>& run) const {
    run.count = end - first;
    run.widen(a.head_dim);
    run.key_scales = run.scale_room;
    run.value_scales = run.scale_room + attention::SPLIT;
    attention::each_slot(a, sequence, first, end, [&](int64_t t, int64_t slot) {
      const int64_t at = slot * a.kv_heads + head;
      run.scale_room[t] = ::widen(k_scales[at]);
      run.scale_room[attention::SPLIT + t] = ::widen(v_scales[at]);
      widen(k + at * a.head_dim, (M*)run.keys[t], a.head_dim);
      widen(v + at * a.head_dim, (M*)run.values[t], a.head_dim);
    });
  }

  static void widen(const uint8_t* codes, bf16* to, int64_t head_dim) {
    for (int64_t d = 0; d < head_dim; ++d) to[d] = Code::widen(codes[d]);
  }

  static void widen(const uint8_t* codes, float* to, int64_t head_dim) {
    for (int64_t d = 0; d < head_dim; ++d) to[d] = ::widen(Code::widen(codes[d]));
  }
};

}  // namespace quantized
