// Small tables made when this is compiled, and e4m3, which most of them hold.

#pragma once

#include <array>
#include <cstdint>

#include "simd.h"

// of(0) … of(SIZE - 1).
template <class T, int SIZE, class Of>
constexpr std::array<T, SIZE> table(const Of& of) {
  std::array<T, SIZE> numbers{};
  for (int i = 0; i < SIZE; ++i) numbers[i] = (T)of(i);
  return numbers;
}

#if defined(__AVX2__)

// 16 bytes twice, for a shuffle that looks up in its own half.
inline __m256i load_table(const std::array<uint8_t, 32>& bytes) {
  return _mm256_loadu_si256((const __m256i*)bytes.data());
}

#endif

// An e4m3 that is no NaN, as bfloat16, which holds each: exponent and mantissa are moved to where
// bfloat16 has them; of the numbers without an exponent there are eight, 0 … 7 · 2⁻⁹.
constexpr bf16 e4m3_as_bf16(int code) {
  constexpr bf16 SUBNORMAL[8] = {0, 0x3b00, 0x3b80, 0x3bc0, 0x3c00, 0x3c20, 0x3c40, 0x3c60};
  const int size = code & 0x7f;
  return (bf16)((code & 0x80) << 8 | (size < 8 ? SUBNORMAL[size] : (size << 4) + ((127 - 7) << 7)));
}
