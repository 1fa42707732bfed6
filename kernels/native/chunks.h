// More rows than registers hold the sums of, where products take what is widened: a panel is walked a
// chunk of its inputs at a time.
//
// Tiles of many rows have sums of half of the columns, and so a tile passes twice over a panel, which is
// read from memory a chunk at a time and lies in the first-level cache meanwhile. Weights of fewer bits
// become bfloat16 there, once for all rows. An output's sum is made in the order in which `panels.h`
// makes it.

#pragma once

#include "dense.h"

namespace chunks {

using panels::COLUMNS;
using panels::VECTORS;

constexpr int64_t INPUTS = 128;       // of a chunk, 8 KiB
constexpr int64_t BLOCK_ROWS = 128;   // at most, whose sums a panel has at once

// sums [ROWS, COLUMNS] and what `count` pairs of inputs add to them.
template <int ROWS, bool PREFETCH>
void tile(const Input* x, int64_t stride, const bf16* pairs, int64_t count, float* sums) {
  constexpr int WIDTH = VECTORS<ROWS>;
  for (int column = 0; column < COLUMNS; column += WIDTH * LANES, sums += WIDTH * LANES) {
    Sums kept[ROWS][WIDTH];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      for (int v = 0; v < WIDTH; ++v) kept[r][v] = load(sums + r * COLUMNS + v * LANES);
    }
    panels::add_pairs<PREFETCH>(kept, pairs + 2 * column, count, x, stride);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      for (int v = 0; v < WIDTH; ++v) store(sums + r * COLUMNS + v * LANES, kept[r][v]);
    }
  }
}

using Tile = void (*)(const Input*, int64_t, const bf16*, int64_t, float*);

template <bool PREFETCH, int... I>
constexpr std::array<Tile, sizeof...(I)> tiles(std::integer_sequence<int, I...>) {
  return {tile<I + 1, PREFETCH>...};
}

// Of `rows` rows from x on; the first of them read what nobody has read yet.
inline void add(const Input* x, int64_t stride, const bf16* pairs, int64_t count, int64_t rows,
                float* sums) {
  using Rows = std::make_integer_sequence<int, panels::MOST_ROWS>;
  static constexpr auto FIRST = tiles<true>(Rows{}), OTHERS = tiles<false>(Rows{});
  for (int64_t row = 0; row < rows; row += panels::MOST_ROWS) {
    const auto& of_rows = row ? OTHERS : FIRST;
    of_rows[std::min<int64_t>(panels::MOST_ROWS, rows - row) - 1](
        x + row * stride, stride, pairs, count, sums + row * COLUMNS);
  }
}

// totals [rows, COLUMNS] of the rows from row0 on with one panel.
template <class Map>
void add_panel(const Map& map, int64_t panel, int64_t row0, int64_t rows, float* totals) {
  alignas(64) float sums[BLOCK_ROWS * COLUMNS];
  alignas(64) bf16 room[INPUTS * COLUMNS];
  const Inputs& inputs = map.inputs;
  const int64_t group = map.group_inputs();
  for (int64_t first = 0, g = 0; first < inputs.stride; first += group, ++g) {
    for (int64_t r = 0; r < rows; ++r) {
      std::fill_n(sums + r * COLUMNS, COLUMNS, map.groups.begin(row0 + r, g));
    }
    const int64_t end = std::min(first + group, inputs.stride);
    for (int64_t at = first; at < end; at += INPUTS) {
      const int64_t count = std::min(INPUTS, end - at);
      add(inputs.x + row0 * inputs.stride + at, inputs.stride, map.pairs(panel, at, count, room),
          count / 2, rows, sums);
    }
    for (int column = 0; column < COLUMNS; column += LANES) {
      const auto scale = map.groups.scale(panel, g, column);
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t at = r * COLUMNS + column;
        map.groups.add(totals + at, load(sums + at), scale, row0 + r, g);
      }
    }
  }
}

// As panels::multiply.
template <class Map>
void multiply(const Map& map, const panels::Output& out, int64_t first, int64_t last) {
  alignas(64) float totals[BLOCK_ROWS * COLUMNS];
  const int64_t fit = std::min(panels::block_rows(out.k, panels::MOST_ROWS), BLOCK_ROWS);
  const int64_t blocks = panels::divide_up(out.m, fit), block = panels::divide_up(out.m, blocks);
  for (int64_t row0 = 0; row0 < out.m; row0 += block) {
    const int64_t count = std::min(block, out.m - row0);
    for (int64_t column = first; column < last; column += COLUMNS) {
      add_panel(map, column / COLUMNS, row0, count, totals);
      panels::finish(out, totals, (int)count, row0, column);
    }
  }
}

}  // namespace chunks
