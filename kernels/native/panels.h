// How packed weights are walked, whatever their kind.
//
// W lies in panels of COLUMNS rows of it, which are columns of y: for each few inputs one after the
// other, those of all the panel's columns side by side. A tile of up to MOST_ROWS rows of x meets a
// panel with a vector of partial sums a row and LANES columns, kept in registers from the first
// input to the last, so each weight that is loaded serves the whole tile, and few rows read the
// weights once and in the order of memory.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "bf16.h"
#include "inputs.h"
#include "simd.h"

namespace panels {

constexpr int COLUMNS = 32;
#if defined(__AVX512BF16__)
constexpr int MOST_SUMS = 28;  // vectors, of 32 registers
#else
constexpr int MOST_SUMS = 12;  // of 16
#endif
constexpr int MOST_ROWS = MOST_SUMS / 2;
// Of a tile that widens what it multiplies for itself: those that a panel meets in one pass.
constexpr int TILE_ROWS = MOST_SUMS * LANES / COLUMNS;

// Vectors of sums that a tile has of each of its rows at a time: those of all columns, if they fit.
template <int ROWS>
constexpr int VECTORS = ROWS * COLUMNS / LANES <= MOST_SUMS ? COLUMNS / LANES : 2;

// What is prefetched of a panel, and past its end of the next: into the second-level cache, for so much
// would drive x from the first.
constexpr int AHEAD_BYTES = 6144;

// x of a block of rows stays in the second-level cache while all panels pass over it.
constexpr int64_t BLOCK_BYTES = 1 << 18;

static_assert(COLUMNS % (2 * LANES) == 0);

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The line that lies `bytes` on; past the end of memory it is no fault.
inline void prefetch(const void* at, int64_t bytes) {
  __builtin_prefetch((const char*)at + bytes, 0, 2);
}

inline void prefetch_ahead(const void* at) { prefetch(at, AHEAD_BYTES); }

// How far from `at` lies what is read `AHEAD_BYTES` later where PANELS panels are read side by side. at:
// in the first, which ends at `end`. Behind it come the others, which have been read by then.
template <int PANELS>
inline int64_t bytes_ahead(const void* at, const void* end, int64_t panel_bytes) {
  constexpr int64_t AHEAD = AHEAD_BYTES / PANELS;
  if (PANELS == 1 || (const char*)at + AHEAD < (const char*)end) return AHEAD;
  return AHEAD + (PANELS - 1) * panel_bytes;
}

struct Output {
  const bf16* bias;  // or null
  bf16* y;
  int64_t m, n, k;
};

// totals [rows, COLUMNS] of one panel to their place in y.
inline void finish(const Output& out, const float* totals, int rows, int64_t row, int64_t column) {
  const int count = (int)std::min<int64_t>(COLUMNS, out.n - column);
  float bias[COLUMNS] = {};
  if (out.bias) {
    for (int c = 0; c < count; ++c) bias[c] = widen(out.bias[column + c]);
  }
  for (int r = 0; r < rows; ++r, totals += COLUMNS) {
    bf16* y = out.y + (row + r) * out.n + column;
    if (count == COLUMNS) {
      for (int c = 0; c < COLUMNS; ++c) y[c] = narrow(totals[c] + bias[c]);
    } else {
      for (int c = 0; c < count; ++c) y[c] = narrow(totals[c] + bias[c]);
    }
  }
}

// Rows of x, whole tiles of them, that stay in cache.
inline int64_t block_rows(int64_t k, int64_t tile) {
  return std::max<int64_t>(1, BLOCK_BYTES / ((int64_t)sizeof(Input) * k * tile)) * tile;
}

template <class Map>
using Tile = void (*)(const Map&, int64_t row, int64_t panel, float* totals);

template <class Map, int... I>
constexpr std::array<Tile<Map>, sizeof...(I)> tiles(std::integer_sequence<int, I...>) {
  return {[](const Map& map, int64_t row, int64_t panel, float* totals) {
    map.template tile<I + 1>(row, panel, totals);
  }...};
}

// Columns from first on, two panels at a time and a row at a time; returns where it ends, less than
// two panels before `last`.
template <class Map>
int64_t pair_panels(const Map& map, const Output& out, int64_t row0, int64_t rows, int64_t first,
                    int64_t last) {
  static_assert(Map::PAIRED_ROWS <= 1);
  if constexpr (Map::PAIRED_ROWS == 1) {
    alignas(64) float totals[2 * COLUMNS];
    for (; first + COLUMNS < last; first += 2 * COLUMNS) {
      for (int64_t row = row0; row < row0 + rows; ++row) {
        map.template tile_of_two<1>(row, first / COLUMNS, totals);
        finish(out, totals, 1, row, first);
        finish(out, totals + COLUMNS, 1, row, first + COLUMNS);
      }
    }
  }
  return first;
}

// Columns first … last of y. Map::tile<ROWS>(row, panel, totals) makes the sums of ROWS rows of x, at
// most Map::MOST_ROWS, from `row` on with the panel's columns.
template <class Map>
void multiply(const Map& map, const Output& out, int64_t first, int64_t last) {
  static constexpr auto TILES = tiles<Map>(std::make_integer_sequence<int, Map::MOST_ROWS>{});
  constexpr int MOST = Map::MOST_ROWS;
  const int64_t fit = block_rows(out.k, MOST);
  const int64_t blocks = divide_up(out.m, fit), block = divide_up(out.m, blocks);
  alignas(64) float totals[MOST * COLUMNS];
  for (int64_t row0 = 0; row0 < out.m; row0 += block) {
    const int64_t count = std::min(block, out.m - row0);
    // Tiles of equal height: one of few rows would wait for its own sums.
    const int64_t height = divide_up(count, divide_up(count, MOST));
    int64_t column = first;
    if (height <= Map::PAIRED_ROWS) column = pair_panels(map, out, row0, count, first, last);
    for (; column < last; column += COLUMNS) {
      for (int64_t row = row0; row < row0 + count; row += height) {
        const int rows = (int)std::min(height, row0 + count - row);
        TILES[rows - 1](map, row, column / COLUMNS, totals);
        finish(out, totals, rows, row, column);
      }
    }
  }
}

}  // namespace panels
