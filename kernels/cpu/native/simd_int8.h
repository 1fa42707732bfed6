// Vectors of eight-bit integers: LANES sums of 32 bits, and 4 · LANES integers whose products go to
// them four by four. Products and sums are exact: none of 16 bits may saturate.

#pragma once

#include <cstdint>
#include <cstring>

#include "simd.h"

#if defined(__AVX512VNNI__)

using Counts = __m512i;
using Quads = __m512i;

inline Counts count_from(int32_t value) { return _mm512_set1_epi32(value); }

inline Quads load(const uint8_t* from) { return _mm512_loadu_si512(from); }

inline Quads broadcast(const int8_t* from) {
  int quad;
  std::memcpy(&quad, from, sizeof quad);
  return _mm512_set1_epi32(quad);
}

// a without a sign, b with one. Of the intrinsic GCC 12 copies the sums before and after each product,
// and runs out of registers.
inline Counts multiply_add(Counts sums, Quads a, Quads b) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(a), "v"(b));
  return sums;
}

inline Sums to_float(Counts counts) { return _mm512_cvtepi32_ps(counts); }

#elif defined(__AVX2__)

using Counts = __m256i;
using Quads = __m256i;

inline Counts count_from(int32_t value) { return _mm256_set1_epi32(value); }

inline Quads load(const uint8_t* from) { return _mm256_loadu_si256((const Quads*)from); }

inline Quads broadcast(const int8_t* from) {
  int quad;
  std::memcpy(&quad, from, sizeof quad);
  return _mm256_set1_epi32(quad);
}

// Even and odd bytes are widened to 16 bits apart: vpmaddubsw would saturate.
inline Counts multiply_add(Counts sums, Quads a, Quads b) {
  const Quads even = _mm256_madd_epi16(_mm256_and_si256(a, _mm256_set1_epi16(0xff)),
                                       _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
  const Quads odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
  return _mm256_add_epi32(sums, _mm256_add_epi32(even, odd));
}

inline Sums to_float(Counts counts) { return _mm256_cvtepi32_ps(counts); }

#else

using Counts = int32_t __attribute__((vector_size(4 * LANES)));
using Quads = Counts;

inline Counts count_from(int32_t value) { return Counts{} + value; }

inline Quads load(const uint8_t* from) {
  Quads quads;
  std::memcpy(&quads, from, sizeof quads);
  return quads;
}

inline Quads broadcast(const int8_t* from) {
  int32_t quad;
  std::memcpy(&quad, from, sizeof quad);
  return Quads{} + quad;
}

// Even and odd bytes apart, each product in 16 bits: 255 · 127 is less than 2¹⁵.
inline Counts multiply_add(Counts sums, Quads a, Quads b) {
  using Halves = int16_t __attribute__((vector_size(sizeof(Quads))));
  auto add = [&](Halves products) {
    const Counts both = (Counts)products;
    sums += ((both << 16) >> 16) + (both >> 16);
  };
  add(((Halves)a & 0xff) * (((Halves)b << 8) >> 8));
  add(((Halves)a >> 8 & 0xff) * ((Halves)b >> 8));
  return sums;
}

inline Sums to_float(Counts counts) { return __builtin_convertvector(counts, Sums); }

#endif
