// Vectors of four-bit integers: eight in each of LANES lanes of 32 bits, widened to bfloat16 a pair
// at a time, and the numbers that their groups are scaled by.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "simd.h"

using Nibbles = Bits;

inline Nibbles load_nibbles(const uint8_t* from) {
  typedef uint32_t Unaligned __attribute__((vector_size(4 * LANES), aligned(1), may_alias));
  return *(const Unaligned*)from;
}

// What `widen_pair` adds to an integer.
constexpr float NIBBLE_BIAS = 128;

// The I-th pair of each lane, plus 128. Of 128 … 255 bfloat16 has seven bits of fraction, and the lowest
// is worth one: an integer put there is added.
template <int I>
inline Pairs widen_pair(Nibbles nibbles) {
  return (Pairs)((nibbles >> (4 * I) & 0x000f000fu) | 0x43004300u);
}

#if defined(__AVX512BF16__)

inline Sums load_half(const uint16_t* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from));
}

inline Sums load_signed(const int8_t* from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)from)));
}

#elif defined(__AVX2__) && defined(__F16C__)

inline Sums load_half(const uint16_t* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from));
}

inline Sums load_signed(const int8_t* from) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)from)));
}

#else

// float16, the subnormal ones too.
inline float widen_half(uint16_t half) {
  const float magnitude = half & 0x7c00
                              ? std::ldexp((float)(0x400 | (half & 0x3ff)), (half >> 10 & 31) - 25)
                              : std::ldexp((float)(half & 0x3ff), -24);
  return half & 0x8000 ? -magnitude : magnitude;
}

inline Sums load_half(const uint16_t* from) {
  Sums sums;
  for (int lane = 0; lane < LANES; ++lane) sums[lane] = widen_half(from[lane]);
  return sums;
}

inline Sums load_signed(const int8_t* from) {
  Sums sums;
  for (int lane = 0; lane < LANES; ++lane) sums[lane] = (float)from[lane];
  return sums;
}

#endif
