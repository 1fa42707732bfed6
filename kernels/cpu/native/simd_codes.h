// Bytes widened to bfloat16, which holds them exactly: integers with a sign, halves, with AVX-512 also
// e4m3; and 16-bit integers to float32.

#pragma once

#include <cstdint>
#include <cstring>

#include "simd.h"

typedef int16_t Shorts __attribute__((vector_size(2 * LANES), may_alias));

inline Sums load_signed(const int16_t* from) {
  typedef int16_t Unaligned __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
  const Shorts shorts = *(const Unaligned*)from;
  return __builtin_convertvector(shorts, Sums);
}

// 2 · STEP bytes, each a sign and a magnitude: ±(magnitude + 1/2), so that no two are the same number.
struct HalfCodes {
  struct Wide {
    Pairs low, high;
  };

#if defined(__AVX512BF16__)

  HalfCodes() {
    uint8_t lower[128], upper[128];
    for (int i = 0; i < 128; ++i) {
      const bf16 half = narrow((float)i + 0.5f);
      lower[i] = (uint8_t)half;
      upper[i] = (uint8_t)(half >> 8);
    }
    for (int i = 0; i < 2; ++i) {
      lowers[i] = _mm512_loadu_si512(lower + 64 * i);
      uppers[i] = _mm512_loadu_si512(upper + 64 * i);
    }
  }

  // Lanes as `beside` leaves them.
  Wide widen(const uint8_t* from) const {
    const __m512i codes = _mm512_loadu_si512(from);
    const __m512i lower = _mm512_permutex2var_epi8(lowers[0], codes, lowers[1]);
    const __m512i upper = _mm512_permutex2var_epi8(uppers[0], codes, uppers[1]);
    const __m512i sign = _mm512_set1_epi8((char)0x80);
    const __m512i with_sign = _mm512_ternarylogic_epi32(upper, codes, sign, 0xf8);  // a | b & c
    return {(Pairs)_mm512_unpacklo_epi8(lower, with_sign),
            (Pairs)_mm512_unpackhi_epi8(lower, with_sign)};
  }

  static void in_order(Sums& low, Sums& high) { ::in_order(low, high); }

 private:
  __m512i lowers[2], uppers[2];  // bytes of 1/2, 3/2 … 255/2

#else

  Wide widen(const uint8_t* from) const { return {widen_step(from), widen_step(from + STEP)}; }

  static void in_order(Sums&, Sums&) {}

 private:
  static Pairs widen_step(const uint8_t* from) {
    typedef int16_t Two __attribute__((vector_size(2 * STEP), may_alias));
    typedef int8_t Bytes __attribute__((vector_size(STEP), aligned(1), may_alias));
    const Ints lanes = (Ints)__builtin_convertvector(*(const Bytes*)from, Two);
    auto half = [](Ints code) {
      return (Bits)(__builtin_convertvector(code ^ (code >> 31 & 0x7f), Sums) + 0.5f);
    };
    return (half((lanes << 16) >> 16) >> 16) | (half(lanes >> 16) & 0xffff0000u);
  }

#endif
};

#if defined(__AVX512BF16__)

// STEP bytes, two in each lane.
inline Pairs widen_codes(const int8_t* from) {
  auto wide = [](const int8_t* at) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)at)));
  };
  return (Pairs)_mm512_cvtne2ps_pbh(wide(from + LANES), wide(from));
}

// Exponent and mantissa are moved to where bfloat16 has them; of the numbers without an exponent
// there are eight, 0 … 7 · 2⁻⁹.
inline Pairs widen_e4m3(const uint8_t* from) {
  alignas(64) static constexpr bf16 SUBNORMAL[STEP] = {0,      0x3b00, 0x3b80, 0x3bc0,
                                                       0x3c00, 0x3c20, 0x3c40, 0x3c60};
  const __m512i codes = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i*)from));
  const __m512i moved = _mm512_and_si512(_mm512_slli_epi16(codes, 4), _mm512_set1_epi16(0x7f0));
  const __m512i normal = _mm512_add_epi16(moved, _mm512_set1_epi16((127 - 7) << 7));
  const __mmask32 is_subnormal = _mm512_testn_epi16_mask(codes, _mm512_set1_epi16(0x78));
  const __m512i number =
      _mm512_mask_permutexvar_epi16(normal, is_subnormal, codes, _mm512_load_si512(SUBNORMAL));
  const __m512i sign = _mm512_and_si512(_mm512_slli_epi16(codes, 8), _mm512_set1_epi16(-0x8000));
  return (Pairs)_mm512_or_si512(number, sign);
}

#endif
