// Vectors of four-bit codes, eight of each of LANES columns, widened to bfloat16 a pair at a time, and the
// numbers that their groups are scaled by.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "tables.h"

using Nibbles = Bits;

inline Nibbles load_nibbles(const uint8_t* from) {
  typedef uint32_t Unaligned __attribute__((vector_size(4 * LANES), aligned(1), may_alias));
  return *(const Unaligned*)from;
}

// With AVX-512 a column's eight are those of a lane, its pairs in the lower bits of the halves of 16 bits,
// then in the next. Else a lane of 16 bytes holds four columns: its lower bits in bytes 0 to 7 the first
// pairs, one behind the other, and in the others the second; its upper bits the third and the fourth.
#if !defined(__AVX512BF16__)

// The nibbles of pair I and of the other that lies beside it, a byte each.
template <int I>
inline Nibbles bytes_of(Nibbles nibbles) {
  return (I < 2 ? nibbles : nibbles >> 4) & 0x0f0f0f0fu;
}

#if !defined(__AVX2__)

// The bytes of pair I, each made a bfloat16.
template <int I, class Make>
inline Pairs each_of(Nibbles bytes, const Make& make) {
  uint8_t codes[4 * LANES];
  bf16 pairs[STEP];
  std::memcpy(codes, &bytes, sizeof codes);
  for (int at = 0; at < STEP; ++at) pairs[at] = make(codes[at / 8 * 16 + I % 2 * 8 + at % 8]);
  return load(pairs);
}

#endif
#endif

// Integers 0 … 15, each BIAS more than it counts: of 128 … 255 bfloat16 has seven bits of fraction, and
// the lowest is worth one; an integer put there is added.
struct Integers {
  static constexpr float BIAS = 128;

  // The I-th pair of inputs of each column.
  template <int I>
  static Pairs widen_pair(Nibbles nibbles) {
#if defined(__AVX512BF16__)
    return (Pairs)((nibbles >> (4 * I) & 0x000f000fu) | 0x43004300u);
#elif defined(__AVX2__)
    const __m256i bytes = (__m256i)bytes_of<I>(nibbles), upper = _mm256_set1_epi8(0x43);
    return (Pairs)(I % 2 ? _mm256_unpackhi_epi8(bytes, upper) : _mm256_unpacklo_epi8(bytes, upper));
#else
    return each_of<I>(bytes_of<I>(nibbles), [](uint8_t code) { return (bf16)(0x4300 | code); });
#endif
  }
};

// e2m1: a sign and 0, 1/2, 1, 3/2, 2, 3, 4 or 6.
struct E2m1 {
  static constexpr float BIAS = 0;

  template <int I>
  static Pairs widen_pair(Nibbles nibbles) {
#if defined(__AVX512BF16__)
    // Of a word the lower five bits say which; the fifth is another nibble's.
    static constexpr auto TWICE = table<bf16, 32>([](int code) { return number(code & 15); });
    return (Pairs)_mm512_permutexvar_epi16((__m512i)(nibbles >> (4 * I)),
                                           _mm512_loadu_si512(TWICE.data()));
#elif defined(__AVX2__)
    static constexpr auto LOWER = table<uint8_t, 32>([](int code) { return number(code & 15); });
    static constexpr auto UPPER =
        table<uint8_t, 32>([](int code) { return number(code & 15) >> 8; });
    const __m256i bytes = (__m256i)bytes_of<I>(nibbles);
    const __m256i lower = _mm256_shuffle_epi8(load_table(LOWER), bytes);
    const __m256i upper = _mm256_shuffle_epi8(load_table(UPPER), bytes);
    return (Pairs)(I % 2 ? _mm256_unpackhi_epi8(lower, upper) : _mm256_unpacklo_epi8(lower, upper));
#else
    return each_of<I>(bytes_of<I>(nibbles), number);
#endif
  }

 private:
  static constexpr bf16 number(int code) {
    constexpr bf16 SIZES[8] = {0, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4040, 0x4080, 0x40c0};
    return (bf16)((code & 8) << 12 | SIZES[code & 7]);
  }
};

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
