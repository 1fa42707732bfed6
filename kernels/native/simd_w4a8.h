// Products of four-bit codes with bytes that have a sign, added four by four to LANES sums.
//
// Partial: what sums as many products as MOST_QUADS quads of inputs have; `fold` adds it to sums of 32 bits.

#pragma once

#include "simd_int8.h"

typedef uint8_t NibbleBytes __attribute__((vector_size(4 * LANES), may_alias));

// Eight inputs of LANES columns: of each column the lower four bits of its four bytes, then the upper.
template <int HALF>
inline NibbleBytes nibble_bytes(NibbleBytes both) {
  return (HALF ? (NibbleBytes)((Words)both >> 4) : both) & (uint8_t)15;
}

inline NibbleBytes load_nibble_bytes(const uint8_t* from) {
  NibbleBytes bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  return bytes;
}

inline int32_t load_quad(const int8_t* from) {
  int32_t quad;
  std::memcpy(&quad, from, sizeof quad);
  return quad;
}

#if defined(__AVX512VNNI__)

using Partial = Counts;
constexpr int MOST_QUADS = 1 << 14;

inline Partial add_products(Partial sums, NibbleBytes weights, const int8_t* quad) {
  return multiply_add(sums, (Quads)weights, _mm512_set1_epi32(load_quad(quad)));
}

inline Counts fold(Counts sums, Partial partial) { return _mm512_add_epi32(sums, partial); }

#elif defined(__AVX2__)

// Two products of at most 15 · 127 in 16 bits, of which eight fit.
using Partial = Words;
constexpr int MOST_QUADS = 8;

inline Partial add_products(Partial sums, NibbleBytes weights, const int8_t* quad) {
  const __m256i values = _mm256_set1_epi32(load_quad(quad));
  return sums + (Words)_mm256_maddubs_epi16((__m256i)weights, values);
}

inline Counts fold(Counts sums, Partial partial) {
  return sums + (Counts)_mm256_madd_epi16((__m256i)partial, _mm256_set1_epi16(1));
}

#else

using Partial = Counts;
constexpr int MOST_QUADS = 1 << 14;

inline Partial add_products(Partial sums, NibbleBytes weights, const int8_t* quad) {
  for (int i = 0; i < 4 * LANES; ++i) sums[i / 4] += (int32_t)weights[i] * quad[i % 4];
  return sums;
}

inline Counts fold(Counts sums, Partial partial) { return sums + partial; }

#endif
