// Signed bytes widened to bfloat16, which holds them exactly, and 16-bit integers to float32.

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
