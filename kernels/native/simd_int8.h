// Vectors of eight-bit integers: LANES sums of 32 bits, and 4 · LANES integers whose products go to
// them four by four. Products and sums are exact: none of 16 bits may saturate.

#pragma once

#include <cstdint>
#include <cstring>

#include "simd.h"

typedef uint16_t Words __attribute__((vector_size(4 * LANES), may_alias));

#if defined(__AVX512VNNI__)

using Counts = __m512i;
using Quads = __m512i;
using Code = int8_t;
constexpr int QUAD_PARTS = 1;

inline Counts count_from(int32_t value) { return _mm512_set1_epi32(value); }

inline Quads load(const uint8_t* from) { return _mm512_loadu_si512(from); }

template <int PART>
inline Quads factors(Quads weights) {
  return weights;
}

template <int PART>
inline Quads spread(const Code* quad) {
  int codes;
  std::memcpy(&codes, quad, sizeof codes);
  return _mm512_set1_epi32(codes);
}

// a without a sign, b with one. Of the intrinsic GCC 12 copies the sums before and after each product,
// and runs out of registers.
inline Counts multiply_add(Counts sums, Quads a, Quads b) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(a), "v"(b));
  return sums;
}

inline Sums to_float(Counts counts) { return _mm512_cvtepi32_ps(counts); }

#else

// vpmaddubsw would saturate, and so bytes are widened to 16 bits: x once, in the order in which two
// products take a quad of weights, its even bytes and then its odd ones.
using Counts = Ints;
using Quads = Ints;
using Code = int16_t;
constexpr int QUAD_PARTS = 2;

inline Counts count_from(int32_t value) { return Counts{} + value; }

inline Quads load(const uint8_t* from) {
  Quads quads;
  std::memcpy(&quads, from, sizeof quads);
  return quads;
}

template <int PART>
inline Quads factors(Quads weights) {
  return PART ? (Quads)((Words)weights >> 8) : weights & 0x00ff00ff;
}

template <int PART>
inline Quads spread(const Code* quad) {
  int32_t codes;
  std::memcpy(&codes, quad + 2 * PART, sizeof codes);
  return Quads{} + codes;
}

inline Counts multiply_add(Counts sums, Quads a, Quads b) {
#if defined(__AVX2__)
  return sums + (Counts)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
  // 255 · 127 is less than 2¹⁵.
  const Counts both = (Counts)((Words)a * (Words)b);
  return sums + ((both << 16) >> 16) + (both >> 16);
#endif
}

inline Sums to_float(Counts counts) { return __builtin_convertvector(counts, Sums); }

#endif
