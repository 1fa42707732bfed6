// AVX-512's vectors on a processor without them, by SIMDe (libsimde-dev), and the instructions that it
// lacks, element by element. Included before the kernels' own sources: tests/kernels/emulated_avx512.py.

#pragma once

#include <immintrin.h>
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <cmath>
#include <cstdint>
#include <cstring>

// What the kernels ask the compiler.
#define __AVX512BF16__ 1
#define __AVX512VNNI__ 1

namespace emulated {

// The elements of a vector.
template <class T, class Vector>
struct Elements {
  T at[sizeof(Vector) / sizeof(T)];

  Elements() = default;
  explicit Elements(const Vector& from) { std::memcpy(at, &from, sizeof at); }

  Vector vector() const {
    Vector to;
    std::memcpy(&to, at, sizeof at);
    return to;
  }
};

template <class To, class ToElement, class FromElement, class From>
To convert(const From& from) {
  const Elements<FromElement, From> numbers(from);
  Elements<ToElement, To> converted;
  static_assert(sizeof numbers.at / sizeof(FromElement) == sizeof converted.at / sizeof(ToElement));
  int i = 0;
  for (ToElement& to : converted.at) to = (ToElement)numbers.at[i++];
  return converted.vector();
}

template <class Whole, class Half>
Whole joined(const Half& lower, const Half& upper) {
  const Half halves[2] = {lower, upper};
  Whole whole;
  static_assert(sizeof whole == sizeof halves);
  std::memcpy(&whole, halves, sizeof whole);
  return whole;
}

inline float as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint16_t narrow(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline __m256bh narrow_all(__m512 from) {
  const Elements<float, __m512> wide(from);
  Elements<uint16_t, __m256bh> narrowed;
  for (int i = 0; i < 16; ++i) narrowed.at[i] = narrow(wide.at[i]);
  return narrowed.vector();
}

inline __m512bh narrow_both(__m512 upper, __m512 lower) {
  return joined<__m512bh>(narrow_all(lower), narrow_all(upper));
}

// A number without an exponent is taken for zero, a product's and a sum's too.
inline float flushed(float value) { return std::fabs(value) < 0x1p-126f ? 0 : value; }

// Of a pair the second product is added first (Intel, Architecture Instruction Set Extensions,
// VDPBF16PS).
inline __m512 add_bf16_pairs(__m512 sums, __m512bh a, __m512bh b) {
  Elements<float, __m512> totals(sums);
  const Elements<uint32_t, __m512bh> left(a), right(b);
  for (int i = 0; i < 16; ++i) {
    auto add = [&](uint32_t one, uint32_t other) {
      const float product = flushed(as_float(one)) * flushed(as_float(other));
      totals.at[i] = flushed(totals.at[i] + product);
    };
    add(left.at[i] & 0xffff0000u, right.at[i] & 0xffff0000u);
    add(left.at[i] << 16, right.at[i] << 16);
  }
  return totals.vector();
}

inline __m512i add_byte_quads(__m512i sums, __m512i a, __m512i b) {
  Elements<int32_t, __m512i> totals(sums);
  const Elements<uint8_t, __m512i> left(a);
  const Elements<int8_t, __m512i> right(b);
  for (int i = 0; i < 64; ++i) totals.at[i / 4] += left.at[i] * right.at[i];
  return totals.vector();
}

inline __m512 widen_halves(__m256i from) {
  return joined<__m512>(_mm256_cvtph_ps(_mm256_castsi256_si128(from)),
                        _mm256_cvtph_ps(_mm256_extracti128_si256(from, 1)));
}

inline __m512i load_some_shorts(__mmask32 mask, const void* from) {
  Elements<uint16_t, __m512i> loaded{};
  for (int i = 0; i < 32; ++i) {
    if (mask >> i & 1) std::memcpy(loaded.at + i, (const uint16_t*)from + i, sizeof(uint16_t));
  }
  return loaded.vector();
}

inline __mmask32 no_common_bits(__m512i a, __m512i b) {
  const Elements<uint16_t, __m512i> left(a), right(b);
  __mmask32 mask = 0;
  for (int i = 0; i < 32; ++i) mask |= (__mmask32)((left.at[i] & right.at[i]) == 0) << i;
  return mask;
}

inline __m512 shuffle_quarters(__m512 a, __m512 b, int which) {
  const Elements<float, __m512> left(a), right(b);
  Elements<float, __m512> shuffled;
  for (int i = 0; i < 4; ++i) {
    const float* from = (i < 2 ? left : right).at + 4 * (which >> 2 * i & 3);
    std::memcpy(shuffled.at + 4 * i, from, 4 * sizeof(float));
  }
  return shuffled.vector();
}

}  // namespace emulated

#undef _mm512_dpbf16_ps
#undef _mm512_dpbusd_epi32
#undef _mm512_maskz_loadu_epi16
#undef _mm512_shuffle_f32x4
#define _mm512_dpbf16_ps emulated::add_bf16_pairs
#define _mm512_dpbusd_epi32 emulated::add_byte_quads
#define _mm512_maskz_loadu_epi16 emulated::load_some_shorts
#define _mm512_shuffle_f32x4 emulated::shuffle_quarters
#define _mm512_cvtneps_pbh emulated::narrow_all
#define _mm512_cvtne2ps_pbh emulated::narrow_both
#define _mm512_cvtph_ps emulated::widen_halves
#define _mm512_testn_epi16_mask emulated::no_common_bits
#define _mm512_cvtepi32_ps(x) emulated::convert<__m512, float, int32_t>(x)
#define _mm512_cvtepi8_epi32(x) emulated::convert<__m512i, int32_t, int8_t>(x)
#define _mm512_cvtepu16_epi32(x) emulated::convert<__m512i, int32_t, uint16_t>(x)
#define _mm512_cvtepu8_epi16(x) emulated::convert<__m512i, int16_t, uint8_t>(x)
