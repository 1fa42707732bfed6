// Vectors of the instruction set that is compiled for: LANES float32 sums, and STEP = 2 · LANES
// bfloat16 elements whose products go to them two by two. What is not explained at one set is as at
// the other.

#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "bf16.h"

#if defined(__AVX512BF16__)

constexpr int LANES = 16;
constexpr int STEP = 32;
using Sums = __m512;
using Pairs = __m512bh;

inline Sums zero() { return _mm512_setzero_ps(); }

inline Pairs load(const bf16* from) { return (Pairs)_mm512_loadu_si512(from); }

// The two elements at `from` in every lane: what one row of x offers LANES columns of W.
inline Pairs broadcast(const bf16* from) {
  int pair;
  std::memcpy(&pair, from, sizeof pair);
  return (Pairs)_mm512_set1_epi32(pair);
}

// The last `count` < STEP elements; the others are zero, and not touched in memory.
inline Pairs load_tail(const bf16* from, int count) {
  return (Pairs)_mm512_maskz_loadu_epi16((__mmask32)((1u << count) - 1), from);
}

inline Sums multiply_add(Sums sums, Pairs a, Pairs b) { return _mm512_dpbf16_ps(sums, a, b); }

inline Sums load_wide(const bf16* from) {
  const __m256i halves = _mm256_loadu_si256((const __m256i*)from);
  return (Sums)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
}

inline Sums multiply_add(Sums sums, float a, Sums b) {
  return _mm512_fmadd_ps(_mm512_set1_ps(a), b, sums);
}

inline Sums multiply_add(Sums sums, Sums a, Sums b) { return _mm512_fmadd_ps(a, b, sums); }

inline Sums product(Sums a, Sums b) { return _mm512_mul_ps(a, b); }

inline Sums load(const float* from) { return _mm512_loadu_ps(from); }

inline void store(float* to, Sums sums) { _mm512_storeu_ps(to, sums); }

// Lane i of the result is the sum of the lanes of v[i].
inline void reduce(const Sums* v, float* out) {
  auto two = [](Sums a, Sums b) {
    return (__m512d)_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  };
  Sums fours[4];
  for (int i = 0; i < 4; ++i) {
    const __m512d a = two(v[4 * i], v[4 * i + 1]), b = two(v[4 * i + 2], v[4 * i + 3]);
    fours[i] = _mm512_add_ps((Sums)_mm512_unpacklo_pd(a, b), (Sums)_mm512_unpackhi_pd(a, b));
  }
  auto fold = [](Sums a, Sums b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  };
  _mm512_storeu_ps(out, fold(fold(fours[0], fours[1]), fold(fours[2], fours[3])));
}

#elif defined(__AVX2__) && defined(__FMA__)

constexpr int LANES = 8;
constexpr int STEP = 16;
using Sums = __m256;
using Pairs = __m256i;

inline Sums zero() { return _mm256_setzero_ps(); }

inline Pairs load(const bf16* from) { return _mm256_loadu_si256((const Pairs*)from); }

inline Pairs broadcast(const bf16* from) {
  int pair;
  std::memcpy(&pair, from, sizeof pair);
  return _mm256_set1_epi32(pair);
}

inline Pairs load_tail(const bf16* from, int count) {
  bf16 padded[STEP] = {};
  std::memcpy(padded, from, count * sizeof(bf16));
  return load(padded);
}

// A bfloat16 is the upper half of a float32. Even and odd elements are widened apart: the order
// within a sum is free, as long as a and b agree on it.
inline Sums multiply_add(Sums sums, Pairs a, Pairs b) {
  auto even = [](Pairs x) { return (Sums)_mm256_slli_epi32(x, 16); };
  auto odd = [](Pairs x) { return (Sums)_mm256_and_si256(x, _mm256_set1_epi32((int)0xffff0000)); };
  return _mm256_fmadd_ps(odd(a), odd(b), _mm256_fmadd_ps(even(a), even(b), sums));
}

inline Sums load_wide(const bf16* from) {
  const __m128i halves = _mm_loadu_si128((const __m128i*)from);
  return (Sums)_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16);
}

inline Sums multiply_add(Sums sums, float a, Sums b) {
  return _mm256_fmadd_ps(_mm256_set1_ps(a), b, sums);
}

inline Sums multiply_add(Sums sums, Sums a, Sums b) { return _mm256_fmadd_ps(a, b, sums); }

inline Sums product(Sums a, Sums b) { return _mm256_mul_ps(a, b); }

inline Sums load(const float* from) { return _mm256_loadu_ps(from); }

inline void store(float* to, Sums sums) { _mm256_storeu_ps(to, sums); }

inline void reduce(const Sums* v, float* out) {
  Sums fours[2];
  for (int i = 0; i < 2; ++i) {
    const Sums* u = v + 4 * i;
    fours[i] = _mm256_hadd_ps(_mm256_hadd_ps(u[0], u[1]), _mm256_hadd_ps(u[2], u[3]));
  }
  _mm256_storeu_ps(out, _mm256_add_ps(_mm256_permute2f128_ps(fours[0], fours[1], 0x20),
                                      _mm256_permute2f128_ps(fours[0], fours[1], 0x31)));
}

#else

// GCC's and Clang's own vectors, which they lower to whatever the machine has. The element that lies
// first in memory must be the lower half of its pair.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

constexpr int LANES = 4;
constexpr int STEP = 8;
using Sums = float __attribute__((vector_size(16)));
using Pairs = uint32_t __attribute__((vector_size(16)));

inline Sums zero() { return Sums{}; }

inline Pairs load(const bf16* from) {
  Pairs pairs;
  std::memcpy(&pairs, from, sizeof pairs);
  return pairs;
}

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

inline Sums multiply_add(Sums sums, Pairs a, Pairs b) {
  sums += (Sums)(a << 16) * (Sums)(b << 16);
  return sums + (Sums)(a & 0xffff0000) * (Sums)(b & 0xffff0000);
}

inline Sums load_wide(const bf16* from) {
  return Sums{widen(from[0]), widen(from[1]), widen(from[2]), widen(from[3])};
}

inline Sums multiply_add(Sums sums, float a, Sums b) { return sums + a * b; }

inline Sums multiply_add(Sums sums, Sums a, Sums b) { return sums + a * b; }

inline Sums product(Sums a, Sums b) { return a * b; }

inline Sums load(const float* from) {
  Sums sums;
  std::memcpy(&sums, from, sizeof sums);
  return sums;
}

inline void store(float* to, Sums sums) { std::memcpy(to, &sums, sizeof sums); }

inline void reduce(const Sums* v, float* out) {
  for (int i = 0; i < LANES; ++i) out[i] = (v[i][0] + v[i][1]) + (v[i][2] + v[i][3]);
}

#endif
