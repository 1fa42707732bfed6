// Bytes widened to bfloat16, which holds them exactly, signed ones and, with AVX-512, e4m3; and 16-bit
// integers to float32.

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

#else

inline Pairs widen_codes(const int8_t* from) {
  typedef int16_t Two __attribute__((vector_size(2 * STEP), may_alias));
  typedef int8_t Bytes __attribute__((vector_size(STEP), aligned(1), may_alias));
  const Ints lanes = (Ints)__builtin_convertvector(*(const Bytes*)from, Two);
  const Bits even = (Bits)__builtin_convertvector((lanes << 16) >> 16, Sums);
  const Bits odd = (Bits)__builtin_convertvector(lanes >> 16, Sums);
  return (even >> 16) | (odd & 0xffff0000u);
}

#endif
