// Vectors of four-bit integers: eight in each of LANES lanes of 32 bits, widened to bfloat16 a pair
// at a time, and the numbers that their groups are scaled by.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "simd.h"

#if defined(__AVX512BF16__)

using Nibbles = __m512i;

// bfloat16 -8 … 7 by the lowest bits of a half; a table has 32, of which the fifth bit chooses.
using Levels = __m512i;

inline Levels nibble_levels() {
  bf16 levels[32];
  for (int i = 0; i < 32; ++i) levels[i] = narrow((float)(i % 16 - 8));
  return _mm512_loadu_si512(levels);
}

inline Nibbles load_nibbles(const uint8_t* from) { return _mm512_loadu_si512(from); }

// The I-th pair of each lane, less 8.
template <int I>
inline Pairs widen_pair(Nibbles nibbles, const Levels& levels) {
  return (Pairs)_mm512_permutexvar_epi16(_mm512_srli_epi16(nibbles, 4 * I), levels);
}

inline Sums load_half(const uint16_t* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from));
}

inline Sums load_signed(const int8_t* from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)from)));
}

#elif defined(__AVX2__) && defined(__F16C__)

using Nibbles = __m256i;

// The lower and the upper bytes of bfloat16 -8 … 7, twice.
struct Levels {
  __m256i low, high;
};

inline Levels nibble_levels() {
  uint8_t low[32], high[32];
  for (int i = 0; i < 32; ++i) {
    const bf16 level = narrow((float)(i % 16 - 8));
    low[i] = (uint8_t)level;
    high[i] = (uint8_t)(level >> 8);
  }
  return {_mm256_loadu_si256((const __m256i*)low), _mm256_loadu_si256((const __m256i*)high)};
}

inline Nibbles load_nibbles(const uint8_t* from) {
  return _mm256_loadu_si256((const Nibbles*)from);
}

template <int I>
inline Pairs widen_pair(Nibbles nibbles, const Levels& levels) {
  const Nibbles lowest = _mm256_and_si256(_mm256_srli_epi16(nibbles, 4 * I), _mm256_set1_epi16(15));
  // A shuffle gives zero where the upper bit of a place is set.
  const Nibbles places = _mm256_or_si256(lowest, _mm256_set1_epi16((short)0x8000));
  const Nibbles low = _mm256_shuffle_epi8(levels.low, places);
  return (Pairs)_mm256_or_si256(low, _mm256_slli_epi16(_mm256_shuffle_epi8(levels.high, places), 8));
}

inline Sums load_half(const uint16_t* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from));
}

inline Sums load_signed(const int8_t* from) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)from)));
}

#else

using Nibbles = Pairs;
struct Levels {};

inline Levels nibble_levels() { return {}; }

inline Nibbles load_nibbles(const uint8_t* from) {
  Nibbles nibbles;
  std::memcpy(&nibbles, from, sizeof nibbles);
  return nibbles;
}

template <int I>
inline Pairs widen_pair(Nibbles nibbles, const Levels&) {
  using Integers = int32_t __attribute__((vector_size(sizeof(Sums))));
  auto level = [](Pairs lowest) {
    return (Pairs)__builtin_convertvector((Integers)lowest - 8, Sums);
  };
  const Pairs even = level(nibbles >> (4 * I) & 15), odd = level(nibbles >> (16 + 4 * I) & 15);
  return (even >> 16) | odd;
}

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
