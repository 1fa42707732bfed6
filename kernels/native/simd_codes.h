// Bytes widened to what products take, exactly: weights, integers or e4m3; with AVX-512 also what an
// eight-bit cache holds; and 16-bit integers to float32.

#pragma once

#include <cstdint>
#include <cstring>

#include "inputs.h"
#include "tables.h"

typedef int16_t Shorts __attribute__((vector_size(2 * LANES), may_alias));

inline Sums load_signed(const int16_t* from) {
  typedef int16_t Unaligned __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
  const Shorts shorts = *(const Unaligned*)from;
  return __builtin_convertvector(shorts, Sums);
}

#if defined(__AVX512BF16__)

// Bytes, each a sign and one of 128 sizes, bfloat16 that SIZE has of it. Pairs of a column's inputs.
template <bf16 (*SIZE)(int)>
class SignedBytes {
 public:
  static constexpr int INPUTS = 2, PARTS = 1;

  SignedBytes() {
    uint8_t lower[128], upper[128];
    for (int i = 0; i < 128; ++i) {
      const bf16 size = SIZE(i);
      lower[i] = (uint8_t)size;
      upper[i] = (uint8_t)(size >> 8);
    }
    for (int i = 0; i < 2; ++i) {
      lowers_[i] = _mm512_loadu_si512(lower + 64 * i);
      uppers_[i] = _mm512_loadu_si512(upper + 64 * i);
    }
  }

  // Lanes as `beside` leaves them.
  template <int PART>
  void widen(const uint8_t* from, Factors (&weights)[2]) const {
    const __m512i codes = _mm512_loadu_si512(from);
    const __m512i lower = _mm512_permutex2var_epi8(lowers_[0], codes, lowers_[1]);
    const __m512i upper = _mm512_permutex2var_epi8(uppers_[0], codes, uppers_[1]);
    const __m512i sign = _mm512_set1_epi8((char)0x80);
    const __m512i with_sign = _mm512_ternarylogic_epi32(upper, codes, sign, 0xf8);  // a | b & c
    weights[0] = (Pairs)_mm512_unpacklo_epi8(lower, with_sign);
    weights[1] = (Pairs)_mm512_unpackhi_epi8(lower, with_sign);
  }

  static void in_order(Sums (&sums)[2]) { ::in_order(sums[0], sums[1]); }

 private:
  __m512i lowers_[2], uppers_[2];  // bytes of the sizes
};

inline bf16 and_a_half(int magnitude) { return narrow((float)magnitude + 0.5f); }

// ±(magnitude + 1/2), so that no two are the same number.
struct ByteWeights : SignedBytes<and_a_half> {
  static constexpr float BEGIN = 0;     // a sum without inputs, of a group whose inputs sum up to 1
  static constexpr float MIDDLE = 127.5;  // what is taken of a code q
};

using E4m3Weights = SignedBytes<e4m3_as_bf16>;

#else

// Bytes as they are, each 128 more than it counts. Fours of a column's inputs.
class ByteWeights {
 public:
  static constexpr int INPUTS = 4, PARTS = 4;
  static constexpr float BEGIN = -128;
  static constexpr float MIDDLE = 128;

  // The PART-th input of each lane.
  template <int PART, int WIDTH>
  void widen(const uint8_t* from, Factors (&weights)[WIDTH]) const {
    typedef int32_t Unaligned __attribute__((vector_size(4 * LANES), aligned(1), may_alias));
    for (int v = 0; v < WIDTH; ++v) {
      weights[v] = __builtin_convertvector(
          only<PART>(*(const Unaligned*)(from + v * 4 * LANES)), Sums);
    }
  }

  // Of 32 columns the first two inputs of four and the last two, as pairs of bfloat16.
  static void widen_pairs(const uint8_t* from, bf16* first, bf16* last) {
    for (int lane = 0; lane < 32; lane += LANES, from += 4 * LANES) {
      Factors wide[4][1];
      const ByteWeights bytes;
      bytes.widen<0>(from, wide[0]);
      bytes.widen<1>(from, wide[1]);
      bytes.widen<2>(from, wide[2]);
      bytes.widen<3>(from, wide[3]);
      auto pair = [&](int i) { return (Bits)wide[i][0] >> 16 | (Bits)wide[i + 1][0]; };
      store(first + 2 * lane, pair(0));
      store(last + 2 * lane, pair(2));
    }
  }

  template <int WIDTH>
  static void in_order(Sums (&)[WIDTH]) {}

 private:
  template <int PART>
  static Ints only(Ints codes) {
#if defined(__AVX2__)
    // Shuffles have twice the ports of shifts.
    const __m256i at = (__m256i)((Ints{0, 1, 2, 3, 0, 1, 2, 3} * 4 + PART) | (int32_t)0x80808000);
    return (Ints)_mm256_shuffle_epi8((__m256i)codes, at);
#else
    return (Ints)((Bits)codes >> (8 * PART)) & 0xff;
#endif
  }
};

// e4m3. Fours of a column's inputs: a lane of 16 bytes holds the first two of four columns, and behind
// them the last two.
class E4m3Weights {
 public:
  static constexpr int INPUTS = 4, PARTS = 4;

  template <int PART, int WIDTH>
  void widen(const uint8_t* from, Factors (&weights)[WIDTH]) const {
    for (int v = 0; v < WIDTH; ++v) {
      weights[v] = factors<PART % 2>(wide_pairs(from + v * 4 * LANES).of[PART / 2]);
    }
  }

  static void widen_pairs(const uint8_t* from, bf16* first, bf16* last) {
    for (int lane = 0; lane < 32; lane += LANES, from += 4 * LANES) {
      const TwoPairs pairs = wide_pairs(from);
      store(first + 2 * lane, pairs.of[0]);
      store(last + 2 * lane, pairs.of[1]);
    }
  }

  template <int WIDTH>
  static void in_order(Sums (&)[WIDTH]) {}

 private:
  struct TwoPairs {
    Pairs of[2];
  };

#if defined(__AVX2__)
  // The upper byte of a bfloat16 is said by a code's upper four bits and the lower byte by its lower four,
  // but of those without an exponent; what these differ by is added.
  static TwoPairs wide_pairs(const uint8_t* from) {
    static constexpr auto UPPER =
        table<uint8_t, 32>([](int i) { return e4m3_as_bf16((i & 15) << 4 | 8) >> 8; });
    static constexpr auto UPPER_MORE = table<uint8_t, 32>(
        [](int i) { return (e4m3_as_bf16(i & 15) >> 8) - (e4m3_as_bf16(8) >> 8); });
    static constexpr auto LOWER_MORE =
        table<uint8_t, 32>([](int i) { return e4m3_as_bf16(i & 15) - (i << 4); });
    const __m256i codes = _mm256_loadu_si256((const __m256i*)from);
    const __m256i low_bits = _mm256_set1_epi8(0x0f);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), low_bits);
    const __m256i low = _mm256_slli_epi16(_mm256_and_si256(codes, low_bits), 4);
    // Its highest bit is set from 16 on, for which a shuffle gives zero.
    const __m256i least = _mm256_adds_epu8(_mm256_and_si256(codes, _mm256_set1_epi8(0x7f)),
                                           _mm256_set1_epi8(0x70));
    const __m256i upper = _mm256_add_epi8(_mm256_shuffle_epi8(load_table(UPPER), high),
                                          _mm256_shuffle_epi8(load_table(UPPER_MORE), least));
    const __m256i lower =
        _mm256_add_epi8(low, _mm256_shuffle_epi8(load_table(LOWER_MORE), least));
    return {{(Pairs)_mm256_unpacklo_epi8(lower, upper), (Pairs)_mm256_unpackhi_epi8(lower, upper)}};
  }
#else
  static TwoPairs wide_pairs(const uint8_t* from) {
    static constexpr auto NUMBERS = table<bf16, 256>(e4m3_as_bf16);
    bf16 pairs[2][STEP];
    for (int at = 0; at < 4 * LANES; ++at) {
      pairs[at % 16 / 8][at / 16 * 8 + at % 8] = NUMBERS[from[at]];
    }
    return {{load(pairs[0]), load(pairs[1])}};
  }
#endif
};

#endif

#if defined(__AVX512BF16__)

// STEP bytes, two in each lane.
inline Pairs widen_codes(const int8_t* from) {
  auto wide = [](const int8_t* at) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)at)));
  };
  return (Pairs)_mm512_cvtne2ps_pbh(wide(from + LANES), wide(from));
}

// As `e4m3_as_bf16`.
inline Pairs widen_e4m3(const uint8_t* from) {
  alignas(64) static constexpr auto SUBNORMAL =
      table<bf16, STEP>([](int i) { return i < 8 ? e4m3_as_bf16(i) : 0; });
  const __m512i codes = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i*)from));
  const __m512i moved = _mm512_and_si512(_mm512_slli_epi16(codes, 4), _mm512_set1_epi16(0x7f0));
  const __m512i normal = _mm512_add_epi16(moved, _mm512_set1_epi16((127 - 7) << 7));
  const __mmask32 is_subnormal = _mm512_testn_epi16_mask(codes, _mm512_set1_epi16(0x78));
  const __m512i number =
      _mm512_mask_permutexvar_epi16(normal, is_subnormal, codes, _mm512_load_si512(SUBNORMAL.data()));
  const __m512i sign = _mm512_and_si512(_mm512_slli_epi16(codes, 8), _mm512_set1_epi16(-0x8000));
  return (Pairs)_mm512_or_si512(number, sign);
}

#endif
