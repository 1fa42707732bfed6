// Four-bit weights in groups along k: W = (q - zero) · scale, kernels/reference/w4a16.py.
//
// Panels of [k / 8, COLUMNS / LANES, 4 · LANES] bytes: eight inputs of LANES columns in a vector, of which
// few operations make pairs of bfloat16, q + 128 (simd_int4.h). With D the sum of
// x · (q - 8) over a group and X that of x, the group adds scale · (D + (8 - zero) · X): sums begin at
// -136 · X and end at D.
//
// Scales, float16, and 8 - zero, int8, lie as [panels, k / group, COLUMNS].

#pragma once

#include "panels.h"
#include "simd_int4.h"

// What makes a group's sums part of a panel's totals.
struct GroupScale {
  Sums scale, shift;

  // x_sum: X. first: of the groups.
  void add(float* total, Sums sum, float x_sum, bool first) const {
    const Sums shifted = multiply_add(sum, x_sum, shift);
    store(total, first ? product(shifted, scale) : multiply_add(load(total), shifted, scale));
  }
};

struct Int4Map {
  Inputs inputs;
  const float* group_sums;  // of x, [m, k / group]
  const uint8_t* packed;
  const uint16_t* scales;
  const int8_t* shifts;
  int64_t k, group;
  const int64_t groups = k / group;
  // Of the registers, weights as they are read and as they are multiplied need some more.
  static constexpr int MOST_ROWS = std::min(panels::TILE_ROWS, 12);

  // Of inputs and group sums.
  static int64_t prepared_bytes(int64_t m, int64_t k, int64_t group) {
    return Inputs::prepared_bytes(m, k) + m * (k / group) * (int64_t)sizeof(float);
  }

  static void prepare(const bf16* x, int64_t m, int64_t k, int64_t group, void* prepared,
                      int64_t first, int64_t last) {
    Inputs::prepare(x, k, prepared, first, last);
    float* sums = (float*)sums_of(prepared, m, k) + first * (k / group);
    const bf16* end = x + last * k;
    for (const bf16* at = x + first * k; at < end; at += group, ++sums) {
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < group; ++i) sum += widen(at[i]);
      *sums = sum;
    }
  }

  // Where `prepare` puts the group sums.
  static const float* sums_of(const void* prepared, int64_t m, int64_t k) {
    return (const float*)((const char*)prepared + Inputs::prepared_bytes(m, k));
  }

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

  float begin(int64_t row, int64_t g) const { return -(NIBBLE_BIAS + 8) * sum_of_x(row, g); }

  // Inputs first … first + count of a panel as pairs of numbers, each NIBBLE_BIAS more than it counts.
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
        store(pair, widen_pair<0>(nibbles));
        store(pair + 2 * COLUMNS, widen_pair<1>(nibbles));
        store(pair + 4 * COLUMNS, widen_pair<2>(nibbles));
        store(pair + 6 * COLUMNS, widen_pair<3>(nibbles));
      }
    }
    return room;
  }

  GroupScale scale(int64_t panel, int64_t g, int column) const {
    const int64_t at = (panel * groups + g) * panels::COLUMNS + column;
    return {load_half(scales + at), load_signed(shifts + at)};
  }

  void add_group(float* total, Sums sum, const GroupScale& of, int64_t row, int64_t g) const {
    of.add(total, sum, sum_of_x(row, g), g == 0);
  }

 private:
  float sum_of_x(int64_t row, int64_t g) const { return group_sums[row * groups + g]; }

  // totals [PANELS, ROWS, COLUMNS].
  template <int ROWS, int PANELS>
  void some_panels(int64_t row, int64_t panel, float* totals) const {
    using namespace panels;
    constexpr int OF_PANEL = VECTORS<ROWS>, PASS = OF_PANEL * LANES;
    constexpr int WIDTH = PANELS * OF_PANEL;  // vectors, those of a panel one behind the other
    const int64_t eights = group / 8, panel_bytes = COLUMNS * (k / 2);
    for (int column = 0; column < COLUMNS; column += PASS) {
      const uint8_t* at = packed + panel * panel_bytes + 4 * column;
      const uint8_t* end = packed + (panel + 1) * panel_bytes;
      const Input* values = inputs.x + row * inputs.stride;
      for (int64_t g = 0; g < groups; ++g) {
        Sums sums[ROWS][WIDTH];
        for (int r = 0; r < ROWS; ++r) {
          const Sums beginning = broadcast(begin(row + r, g));
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
          const GroupScale of_group = scale(panel + v / OF_PANEL, g, in_panel);
#pragma GCC unroll 16
          for (int r = 0; r < ROWS; ++r) {
            float* to = totals + (v / OF_PANEL * ROWS + r) * COLUMNS + in_panel;
            add_group(to, sums[r][v], of_group, row + r, g);
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
    for (int v = 0; v < AT_ONCE; ++v) weights[v] = factors<PART>(widen_pair<I>(nibbles[v]));
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
