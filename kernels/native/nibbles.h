// How weights of four bits in groups along k are walked, whatever their codes count and however groups
// are scaled.
//
// Panels of [k / 8, COLUMNS / LANES, 4 · LANES] bytes: eight inputs of LANES columns in a vector, of which
// few operations make pairs of bfloat16 (simd_nibbles.h).
//
// Groups: group_sums.h.

#pragma once

#include "panels.h"
#include "simd_nibbles.h"

template <class Numbers, class Groups>
struct NibbleMap {
  Inputs inputs;
  const uint8_t* packed;
  Groups groups;
  int64_t k, group;
  // Of the registers, weights as they are read and as they are multiplied need some more.
  static constexpr int MOST_ROWS = std::min(panels::TILE_ROWS, 12);

  template <int ROWS>
  void tile(int64_t row, int64_t panel, float* totals) const {
    some_panels<ROWS, 1>(row, panel, totals);
  }

  // Of one row the sums of a panel wait for each other, and so two panels go side by side.
  static constexpr int PAIRED_ROWS = 1;

  template <int ROWS>
  void tile_of_two(int64_t row, int64_t panel, float* totals) const {
    some_panels<ROWS, 2>(row, panel, totals);
  }

  int64_t group_inputs() const { return group; }

  // Inputs first … first + count of a panel as pairs of `Numbers`.
  const bf16* pairs(int64_t panel, int64_t first, int64_t count, bf16* room) const {
    using panels::COLUMNS;
    const uint8_t* at = packed + COLUMNS * (panel * k + first) / 2;
    bf16* to = room;
    for (int64_t i = 0; i < count; i += 8, at += 4 * COLUMNS, to += 8 * COLUMNS) {
      panels::prefetch_ahead(at);
      panels::prefetch_ahead(at + 64);
      for (int column = 0; column < COLUMNS; column += LANES) {
        const Nibbles nibbles = load_nibbles(at + 4 * column);
        bf16* const pair = to + 2 * column;
        store(pair, Numbers::template widen_pair<0>(nibbles));
        store(pair + 2 * COLUMNS, Numbers::template widen_pair<1>(nibbles));
        store(pair + 4 * COLUMNS, Numbers::template widen_pair<2>(nibbles));
        store(pair + 6 * COLUMNS, Numbers::template widen_pair<3>(nibbles));
      }
    }
    return room;
  }

 private:
  // totals [PANELS, ROWS, COLUMNS].
  template <int ROWS, int PANELS>
  void some_panels(int64_t row, int64_t panel, float* totals) const {
    using namespace panels;
    constexpr int OF_PANEL = VECTORS<ROWS>, PASS = OF_PANEL * LANES;
    constexpr int WIDTH = PANELS * OF_PANEL;  // vectors, those of a panel one behind the other
    const int64_t eights = group / 8, panel_bytes = COLUMNS * (k / 2), count = k / group;
    for (int column = 0; column < COLUMNS; column += PASS) {
      const uint8_t* at = packed + panel * panel_bytes + 4 * column;
      const uint8_t* end = packed + (panel + 1) * panel_bytes;
      const Input* values = inputs.x + row * inputs.stride;
      for (int64_t g = 0; g < count; ++g) {
        Sums sums[ROWS][WIDTH];
        for (int r = 0; r < ROWS; ++r) {
          const Sums beginning = broadcast(groups.begin(row + r, g));
          for (Sums& sum : sums[r]) sum = beginning;
        }
        for (int64_t eight = 0; eight < eights; ++eight, at += 4 * COLUMNS, values += 8) {
          const int64_t ahead = bytes_ahead<PANELS>(at, end, panel_bytes);
#pragma GCC unroll 2
          for (int p = 0; p < PANELS; ++p) {
            prefetch(at + p * panel_bytes, ahead);
            prefetch(at + p * panel_bytes + 64, ahead);
          }
          // As many vectors at once as registers have room for beside the sums; of one its sums would wait.
          constexpr int AT_ONCE = Inputs::WIDENED ? 2 : WIDTH;
#pragma GCC unroll 8
          for (int first = 0; first < WIDTH; first += AT_ONCE) {
            Nibbles nibbles[AT_ONCE];
            for (int i = 0; i < AT_ONCE; ++i) {
              const int v = first + i;
              nibbles[i] =
                  load_nibbles(at + v / OF_PANEL * panel_bytes + v % OF_PANEL * 4 * LANES);
            }
            step<0>(sums, first, nibbles, values);
            step<1>(sums, first, nibbles, values);
            step<2>(sums, first, nibbles, values);
            step<3>(sums, first, nibbles, values);
          }
        }
#pragma GCC unroll 8
        for (int v = 0; v < WIDTH; ++v) {
          const int in_panel = column + v % OF_PANEL * LANES;
          const auto scale = groups.scale(panel + v / OF_PANEL, g, in_panel);
#pragma GCC unroll 16
          for (int r = 0; r < ROWS; ++r) {
            float* to = totals + (v / OF_PANEL * ROWS + r) * COLUMNS + in_panel;
            groups.add(to, sums[r][v], scale, row + r, g);
          }
        }
      }
    }
  }

  // Of the eight inputs the I-th pair, of the vectors from `first` on.
  template <int I, int PART = 0, int ROWS, int WIDTH, int AT_ONCE>
  void step(Sums (&sums)[ROWS][WIDTH], int first, const Nibbles (&nibbles)[AT_ONCE],
            const Input* values) const {
    Factors weights[AT_ONCE];
    for (int v = 0; v < AT_ONCE; ++v) {
      weights[v] = factors<PART>(Numbers::template widen_pair<I>(nibbles[v]));
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      const Factors value = spread<PART>(values + r * inputs.stride + 2 * I);
#pragma GCC unroll 8
      for (int v = 0; v < AT_ONCE; ++v) {
        sums[r][first + v] = multiply_add(sums[r][first + v], weights[v], value);
      }
    }
    if constexpr (PART + 1 < PARTS) step<I, PART + 1>(sums, first, nibbles, values);
  }
};
