// Vectors of four-bit integers, eight of each of LANES columns, widened to bfloat16 a pair at a time, and
// the numbers that their groups are scaled by.

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

// The I-th pair of inputs of each column, plus 128. Of 128 … 255 bfloat16 has seven bits of fraction, and
// the lowest is worth one: an integer put there is added.
//
// With AVX-512 a column's eight are those of a lane, its pairs in the lower bits of the halves of 16 bits,
// then in the next. Else a lane of 16 bytes holds four columns: its lower bits in bytes 0 to 7 the first
// pairs, one behind the other, and in the others the second; its upper bits the third and the fourth.
template <int I>
inline Pairs widen_pair(Nibbles nibbles) {
#if defined(__AVX512BF16__)
  return (Pairs)((nibbles >> (4 * I) & 0x000f000fu) | 0x43004300u);
#else
  const Nibbles bytes = (I < 2 ? nibbles : nibbles >> 4) & 0x0f0f0f0fu;
#if defined(__AVX2__)
  const __m256i upper = _mm256_set1_epi8(0x43);
  return (Pairs)(I % 2 ? _mm256_unpackhi_epi8((__m256i)bytes, upper)
                       : _mm256_unpacklo_epi8((__m256i)bytes, upper));
#else
  typedef uint8_t Eight __attribute__((vector_size(8)));
  typedef uint16_t Wide __attribute__((vector_size(16)));
  Pairs pair;
  for (int at = 0; at < (int)sizeof pair; at += 16) {
    Eight eight;
    std::memcpy(&eight, (const char*)&bytes + at + I % 2 * 8, sizeof eight);
    const Wide wide = __builtin_convertvector(eight, Wide) | (uint16_t)0x4300;
    std::memcpy((char*)&pair + at, &wide, sizeof wide);
  }
  return pair;
#endif
#endif
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
