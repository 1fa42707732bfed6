// Keys and values of eight bits, as kernels/reference/quantized_kv.py defines them.

#pragma once

#include <algorithm>
#include <cfloat>
#include <vector>

#include "attention_cache.h"
#include "attention_few.h"
#include "bf16.h"
#include "simd_codes.h"

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

// A kind of code: LARGEST, `encode` of a number within it, and `widen`, which is exact; with AVX-512
// also of STEP codes at once, in fewer steps than a compiler finds.
struct Int8 {
  static constexpr float LARGEST = 127;
  static uint8_t encode(float x) { return (uint8_t)(int32_t)nearest(x); }
  static bf16 widen(uint8_t code) { return (bf16)(bits_of((float)(int8_t)code) >> 16); }
#if defined(__AVX512BF16__)
  static Pairs widen_step(const uint8_t* codes) { return widen_codes((const int8_t*)codes); }
#endif
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

#if defined(__AVX512BF16__)
  static Pairs widen_step(const uint8_t* codes) { return widen_e4m3(codes); }
#endif
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

// Codes k, v [slots, kv_heads, head_dim] and their scales [slots, kv_heads]. Codes are widened once
// for all rows, so few at a time that they stay in the first-level cache; scales are applied to scores
// and weights, a product a key instead of one an element.
template <class Code>
struct Coded {
  const uint8_t *k, *v;
  const bf16 *k_scales, *v_scales;

  static constexpr int64_t PIECE = 64;
  static constexpr bool IN_PLACE = false;

  template <class E, class M>
  void find(const AttentionOf<E>& a, const attention::Piece& piece,
            attention::Run<M>& run) const {
    run.count = piece.count();
    run.room.resize(2 * PIECE * a.head_dim);
    run.key_scales = run.scale_room;
    run.value_scales = run.scale_room + attention::SPLIT;
    attention::each_slot(a, piece, [&](int64_t t, int64_t slot) {
      const int64_t at = slot * a.kv_heads + piece.head;
      run.scale_room[t] = ::widen(k_scales[at]);
      run.scale_room[attention::SPLIT + t] = ::widen(v_scales[at]);
      run.key_codes[t] = k + at * a.head_dim;
      run.value_codes[t] = v + at * a.head_dim;
    });
    for (int64_t t = 0; t < PIECE; t += LANES) {
      attention::fetch(run.key_codes + t, run.count - t, a.head_dim);
      attention::fetch(run.value_codes + t, run.count - t, a.head_dim);
    }
  }

  template <class M>
  void load_keys(int64_t head_dim, int64_t first, attention::Run<M>& run) const {
    load_piece(run.key_codes, run.keys, first, run.count, head_dim, run.room.data());
  }

  template <class M>
  void load_values(int64_t head_dim, int64_t first, attention::Run<M>& run) const {
    load_piece(run.value_codes, run.values, first, run.count, head_dim,
               run.room.data() + PIECE * head_dim);
  }

  template <class E, class M>
  void read(const AttentionOf<E>& a, const attention::Piece& piece,
            attention::Run<M>& run) const {
    find(a, piece, run);
    load_keys(a.head_dim, 0, run);
    load_values(a.head_dim, 0, run);
  }

 private:
  // The piece from `first` on, while memory is asked for the next.
  template <class M>
  static void load_piece(const uint8_t* const* codes, const M** to, int64_t first, int64_t count,
                         int64_t head_dim, M* room) {
    for (int64_t t = first; t < std::min(first + PIECE, count); ++t, room += head_dim) {
      if (t % LANES == 0) attention::fetch(codes + t + PIECE, count - t - PIECE, head_dim);
      widen(codes[t], room, head_dim);
      to[t] = room;
    }
  }

  static void widen(const uint8_t* codes, bf16* to, int64_t head_dim) {
    int64_t d = 0;
#if defined(__AVX512BF16__)
    for (; d + STEP <= head_dim; d += STEP) store(to + d, Code::widen_step(codes + d));
#endif
    for (; d < head_dim; ++d) to[d] = Code::widen(codes[d]);
  }

  static void widen(const uint8_t* codes, float* to, int64_t head_dim) {
    for (int64_t d = 0; d < head_dim; ++d) to[d] = ::widen(Code::widen(codes[d]));
  }
};

}  // namespace quantized
