// Vectors of the instruction set that is compiled for: LANES float32 sums, and STEP = 2 · LANES
// bfloat16 elements whose products go to them two by two. Sums are the compiler's own vectors, which
// it lowers to whatever the processor has; only what they cannot say is written once a set. What is
// not explained at one set is as at the others.

#pragma once

#include <cstdint>
#include <cstring>

#include "bf16.h"

#if defined(__AVX512BF16__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512BF16__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
constexpr int STEP = 2 * LANES;

typedef float Sums __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * LANES), may_alias));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES), may_alias));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES), may_alias));

inline Sums zero() { return Sums{}; }

inline Sums broadcast(float value) { return value - Sums{}; }

inline Sums load(const float* from) {
  typedef float Unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
  return *(const Unaligned*)from;
}

inline void store(float* to, Sums sums) {
  typedef float Unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
  *(Unaligned*)to = sums;
}

inline Sums multiply_add(Sums sums, Sums a, Sums b) { return sums + a * b; }

inline Sums multiply_add(Sums sums, float a, Sums b) { return sums + a * b; }

inline Sums product(Sums a, Sums b) { return a * b; }

// a where the two cannot be compared: no NaN comes from b.
inline Sums larger(Sums a, Sums b) { return b > a ? b : a; }

// LANES elements as float32.
inline Sums load_wide(const float* from) { return load(from); }

inline Sums load_wide(const bf16* from) {
  typedef uint16_t Unaligned __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
  const Halves halves = *(const Unaligned*)from;
  return (Sums)(__builtin_convertvector(halves, Bits) << 16);
}

// LANES elements, rounded to nearest.
inline void store_narrow(bf16* to, Sums sums) {
#if defined(__AVX512BF16__)
  _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh((__m512)sums));
#else
  typedef uint16_t Unaligned __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
  const Bits bits = (Bits)sums, nearest = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  *(Unaligned*)to = __builtin_convertvector(sums == sums ? nearest : bits >> 16 | 0x40u, Halves);
#endif
}

#if defined(__AVX512BF16__)

using Pairs = __m512bh;

inline Pairs load(const bf16* from) { return (Pairs)_mm512_loadu_si512(from); }

// The last `count` < STEP elements; the others are zero, and not touched in memory.
inline Pairs load_tail(const bf16* from, int count) {
  return (Pairs)_mm512_maskz_loadu_epi16((__mmask32)((1u << count) - 1), from);
}

inline Sums multiply_add(Sums sums, Pairs a, Pairs b) {
  return (Sums)_mm512_dpbf16_ps((__m512)sums, a, b);
}

// Two elements, in every lane.
inline Pairs broadcast(const bf16* from) {
  int pair;
  std::memcpy(&pair, from, sizeof pair);
  return (Pairs)_mm512_set1_epi32(pair);
}

// Lane i holds first[i] and second[i], rounded to nearest.
inline Pairs pair_up(Sums first, Sums second) {
  const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)first));
  const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)second));
  return (Pairs)_mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

inline void store(bf16* to, Pairs pairs) { _mm512_storeu_si512(to, (__m512i)pairs); }

// Element i of `first` beside that of `second`, for half of the elements each: which ones, `in_order`
// knows.
struct Beside {
  Pairs low, high;
};

inline Beside beside(Pairs first, Pairs second) {
  return {(Pairs)_mm512_unpacklo_epi16((__m512i)first, (__m512i)second),
          (Pairs)_mm512_unpackhi_epi16((__m512i)first, (__m512i)second)};
}

// Sums of what `beside` gave, to elements 0 … LANES and LANES … STEP.
inline void in_order(Sums& low, Sums& high) {
  const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
  const __m512i second = _mm512_or_si512(first, _mm512_set1_epi32(8));
  const __m512 a = (__m512)low, b = (__m512)high;
  low = (Sums)_mm512_permutex2var_ps(a, first, b);
  high = (Sums)_mm512_permutex2var_ps(a, second, b);
}

// Lane i of v[j] goes to lane j of v[i]. Quarters of vectors are turned first, then exchanged.
inline void transpose(Sums* v) {
  __m512 turned[LANES];
  for (int i = 0; i < LANES; i += 4) {
    const __m512 a = (__m512)v[i], b = (__m512)v[i + 1];
    const __m512 c = (__m512)v[i + 2], d = (__m512)v[i + 3];
    const __m512d ab = (__m512d)_mm512_unpacklo_ps(a, b), cd = (__m512d)_mm512_unpacklo_ps(c, d);
    const __m512d AB = (__m512d)_mm512_unpackhi_ps(a, b), CD = (__m512d)_mm512_unpackhi_ps(c, d);
    turned[i] = (__m512)_mm512_unpacklo_pd(ab, cd);
    turned[i + 1] = (__m512)_mm512_unpackhi_pd(ab, cd);
    turned[i + 2] = (__m512)_mm512_unpacklo_pd(AB, CD);
    turned[i + 3] = (__m512)_mm512_unpackhi_pd(AB, CD);
  }
  for (int i = 0; i < 4; ++i) {
    const __m512 a = turned[i], b = turned[i + 4], c = turned[i + 8], d = turned[i + 12];
    const __m512 ab = _mm512_shuffle_f32x4(a, b, 0x88), cd = _mm512_shuffle_f32x4(c, d, 0x88);
    const __m512 AB = _mm512_shuffle_f32x4(a, b, 0xdd), CD = _mm512_shuffle_f32x4(c, d, 0xdd);
    v[i] = (Sums)_mm512_shuffle_f32x4(ab, cd, 0x88);
    v[i + 4] = (Sums)_mm512_shuffle_f32x4(AB, CD, 0x88);
    v[i + 8] = (Sums)_mm512_shuffle_f32x4(ab, cd, 0xdd);
    v[i + 12] = (Sums)_mm512_shuffle_f32x4(AB, CD, 0xdd);
  }
}

// Lane i of the result is the sum of the lanes of v[i].
inline void reduce(const Sums* v, float* out) {
  auto two = [](Sums a, Sums b) {
    return (__m512d)_mm512_add_ps(_mm512_unpacklo_ps((__m512)a, (__m512)b),
                                  _mm512_unpackhi_ps((__m512)a, (__m512)b));
  };
  __m512 fours[4];
  for (int i = 0; i < 4; ++i) {
    const __m512d a = two(v[4 * i], v[4 * i + 1]), b = two(v[4 * i + 2], v[4 * i + 3]);
    fours[i] = _mm512_add_ps((__m512)_mm512_unpacklo_pd(a, b), (__m512)_mm512_unpackhi_pd(a, b));
  }
  auto fold = [](__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  };
  _mm512_storeu_ps(out, fold(fold(fours[0], fours[1]), fold(fours[2], fours[3])));
}

#else

using Pairs = Bits;

inline Pairs load(const bf16* from) {
  typedef uint32_t Unaligned __attribute__((vector_size(4 * LANES), aligned(2), may_alias));
  return *(const Unaligned*)from;
}

inline void store(bf16* to, Pairs pairs) { std::memcpy(to, &pairs, sizeof pairs); }

inline Pairs broadcast(const bf16* from) {
  uint32_t pair;
  std::memcpy(&pair, from, sizeof pair);
  return Pairs{} + pair;
}

inline Pairs load_tail(const bf16* from, int count) {
  bf16 padded[STEP] = {};
  std::memcpy(padded, from, count * sizeof(bf16));
  return load(padded);
}

// A bfloat16 is the upper half of a float32. Even and odd elements are widened apart: the order
// within a sum is free, as long as a and b agree on it.
inline Sums multiply_add(Sums sums, Pairs a, Pairs b) {
  auto even = [](Pairs x) { return (Sums)(x << 16); };
  auto odd = [](Pairs x) { return (Sums)(x & 0xffff0000u); };
  sums += even(a) * even(b);
  return sums + odd(a) * odd(b);
}

inline void transpose(Sums* v) {
  for (int i = 0; i < LANES; ++i) {
    for (int j = 0; j < i; ++j) {
      const float kept = v[i][j];
      v[i][j] = v[j][i];
      v[j][i] = kept;
    }
  }
}

inline void reduce(const Sums* v, float* out) {
#if defined(__AVX2__)
  __m256 fours[2];
  for (int i = 0; i < 2; ++i) {
    const __m256* u = (const __m256*)v + 4 * i;
    fours[i] = _mm256_hadd_ps(_mm256_hadd_ps(u[0], u[1]), _mm256_hadd_ps(u[2], u[3]));
  }
  _mm256_storeu_ps(out, _mm256_add_ps(_mm256_permute2f128_ps(fours[0], fours[1], 0x20),
                                      _mm256_permute2f128_ps(fours[0], fours[1], 0x31)));
#else
  for (int i = 0; i < LANES; ++i) {
    out[i] = 0;
    for (int lane = 0; lane < LANES; ++lane) out[i] += v[i][lane];
  }
#endif
}

#endif
