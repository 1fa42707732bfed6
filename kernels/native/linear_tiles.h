// Up to 16 rows of x along 64 rows of W by AMX's matrix tiles.
//
// A tile of W is 16 rows by 32 elements, read where it lies, row-major; so it is the product's left
// factor and x, of which there is little, is packed for the right one. Four accumulators hide the
// latency of a tile product (52 cycles against 16 for its turn).

#pragma once

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "product.h"
#include "simd.h"

namespace tiles {

constexpr int ROWS = 16;       // of x, the columns of an accumulator
constexpr int TILE_ROWS = 16;  // of W, the rows of a tile
constexpr int GROUP = 4;       // tiles of W that one tile of x meets

// For one or two rows the vectors are the faster: they have less to set up.
inline bool takes(const Product& p) {
  return p.m > 2 && p.n % TILE_ROWS == 0 && p.k % STEP == 0;
}

// Linux grants the tiles' state to a process that asks (ARCH_REQ_XCOMP_PERM, XTILEDATA).
inline bool granted() { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16};
};

// Tiles of x, [k / 2][ROWS][2]: the pairs of elements that W's rows hold side by side, with x's
// rows across. Missing rows are zero.
inline void pack(const Product& p, int64_t row0, bf16* packed) {
  const int64_t pairs = p.k / 2;
  const int count = (int)std::min<int64_t>(ROWS, p.m - row0);
  const __mmask16 present = (__mmask16)((1u << count) - 1);
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i rows = _mm512_mullo_epi32(lanes, _mm512_set1_epi32((int)pairs));
  const int* from = (const int*)(p.x + row0 * p.k);
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const __m512i column =
        _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), present, rows, from + pair, 4);
    _mm512_storeu_si512(packed + pair * 2 * ROWS, column);
  }
}

// An accumulator is a tile of yᵀ.
inline void store(const Product& p, int64_t row0, int64_t column, const float* sums) {
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i columns = _mm512_slli_epi32(lanes, 4);
  __m512 bias = _mm512_setzero_ps();
  if (p.bias) {
    const __m256i halves = _mm256_loadu_si256((const __m256i*)(p.bias + column));
    bias = (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
  }
  const int64_t count = std::min<int64_t>(ROWS, p.m - row0);
  for (int64_t r = 0; r < count; ++r) {
    const __m512 row = _mm512_add_ps(_mm512_i32gather_ps(columns, sums + r, 4), bias);
    _mm256_storeu_si256((__m256i*)(p.y + (row0 + r) * p.n + column),
                        (__m256i)_mm512_cvtneps_pbh(row));
  }
}

// Rows `first` … `last` of W, whole tiles, with every row of x; packed: all its tiles.
inline void multiply(const Product& p, const bf16* packed, int64_t first, int64_t last) {
  const TileConfig config;
  _tile_loadconfig(&config);
  const int64_t k = p.k, stride = 2 * k, tile = TILE_ROWS * k;
  alignas(64) float sums[GROUP][TILE_ROWS * ROWS];
  for (int64_t column = first; column < last; column += GROUP * TILE_ROWS) {
    const int count = (int)std::min<int64_t>(GROUP, (last - column) / TILE_ROWS);
    const bf16* w = p.w + column * k;
    for (int64_t row0 = 0; row0 < p.m; row0 += ROWS) {
      const bf16* x = packed + row0 * k;
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      for (int64_t at = 0; at < k; at += STEP) {
        _tile_loadd(4, x + at * ROWS, 64);
        _tile_loadd(5, w + at, stride);
        _tile_dpbf16ps(0, 5, 4);
        if (count > 1) {
          _tile_loadd(5, w + tile + at, stride);
          _tile_dpbf16ps(1, 5, 4);
        }
        if (count > 2) {
          _tile_loadd(5, w + 2 * tile + at, stride);
          _tile_dpbf16ps(2, 5, 4);
        }
        if (count > 3) {
          _tile_loadd(5, w + 3 * tile + at, stride);
          _tile_dpbf16ps(3, 5, 4);
        }
        if (row0 == 0) {
          // The group to come, in the order of memory: as many of its lines as this step read.
          const bf16* ahead = w + count * (tile + TILE_ROWS * at);
          for (int line = 0; line < count * TILE_ROWS; line += 4) {
            _mm_prefetch((const char*)(ahead + line * STEP), _MM_HINT_T1);
            _mm_prefetch((const char*)(ahead + (line + 1) * STEP), _MM_HINT_T1);
            _mm_prefetch((const char*)(ahead + (line + 2) * STEP), _MM_HINT_T1);
            _mm_prefetch((const char*)(ahead + (line + 3) * STEP), _MM_HINT_T1);
          }
        }
      }
      _tile_stored(0, sums[0], 64);
      _tile_stored(1, sums[1], 64);
      _tile_stored(2, sums[2], 64);
      _tile_stored(3, sums[3], 64);
      for (int i = 0; i < count; ++i) store(p, row0, column + i * TILE_ROWS, sums[i]);
    }
  }
  _tile_release();
}

}  // namespace tiles
