// Keys and values of eight bits, as kernels/reference/quantized_kv.py defines them.

#pragma once

#include <algorithm>
#include <cfloat>
#include <vector>

#include "attention.h"
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

// One KV head of one sequence. Its codes are widened once for the whole group; scales are applied
// to scores and weights, a product a token instead of one an element.
template <class Code>
void attend(const Attention& a, int64_t sequence, int64_t head, const uint8_t* k, const uint8_t* v,
            const bf16* k_scales, const bf16* v_scales) {
  thread_local std::vector<int64_t> slots, rows;
  thread_local std::vector<bf16> keys, values;
  thread_local std::vector<float> key_scales, value_scales;
  attention::see(a, sequence, slots);
  const size_t length = slots.size();
  rows.resize(length);
  keys.resize(length * a.head_dim);
  values.resize(length * a.head_dim);
  key_scales.resize(length);
  value_scales.resize(length);
  for (size_t t = 0; t < length; ++t) {
    const int64_t from = slots[t] * a.kv_heads + head, row = (int64_t)t * a.head_dim;
    rows[t] = row;
    key_scales[t] = widen(k_scales[from]);
    value_scales[t] = widen(v_scales[from]);
    const uint8_t *key = k + from * a.head_dim, *value = v + from * a.head_dim;
    bf16 *wide_key = &keys[row], *wide_value = &values[row];
    for (int64_t d = 0; d < a.head_dim; ++d) {
      wide_key[d] = Code::widen(key[d]);
      wide_value[d] = Code::widen(value[d]);
    }
  }
  attention::attend(a, sequence, head, keys.data(), values.data(), rows, key_scales.data(),
                    value_scales.data());
}

}  // namespace quantized
