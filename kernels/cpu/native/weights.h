// A linear map y = x · Wᵀ + bias with weights packed once, in one of four kinds: what a kernel that
// runs inside a larger parallel region calls. kernels/cpu/native/packed.py packs them.

#pragma once

#include <cstdint>

#include "chunks.h"
#include "dense.h"
#include "grouped_int8.h"
#include "int4.h"
#include "int8.h"
#include "panels.h"

enum class Kind : int { DENSE, INT8, INT4, GROUPED_INT8 };

// W [n, k], bias [n] or null, group: the inputs that share a scale of INT4 and GROUPED_INT8. What `packed`, `scales`
// and `zeros` point to, the header of each kind says. The layout is that of `NativeWeights` in
// Python.
struct Weights {
  Kind kind;
  const void* packed;
  const void* scales;
  const void* zeros;
  const bf16* bias;
  int64_t n, k, group;
};

// Columns of y, for m rows, that a thread takes at once are whole multiples of this; the last may be
// fewer. Panels that go two by two for so few rows are not parted.
inline int64_t column_chunk(const Weights& w, int64_t m) {
  const bool paired = w.kind == Kind::INT4 && m <= Int4Map::PAIRED_ROWS;
  return (paired ? 2 : 1) * panels::COLUMNS;
}

// Bytes of scratch, aligned to 64, that `prepare` writes for m rows of x; 0: it need not be called.
inline int64_t prepared_bytes(const Weights& w, int64_t m) {
  switch (w.kind) {
    case Kind::DENSE: return Inputs::prepared_bytes(m, w.k);
    case Kind::INT8: return Int8Map::prepared_bytes(m, w.k);
    case Kind::INT4:
    case Kind::GROUPED_INT8: return Int4Map::prepared_bytes(m, w.k, w.group);
  }
  return 0;
}

// Rows first_row … last_row of x [m, k] in the form that the kind multiplies.
inline void prepare(const Weights& w, const bf16* x, int64_t m, void* prepared, int64_t first_row,
                    int64_t last_row) {
  switch (w.kind) {
    case Kind::DENSE: Inputs::prepare(x, w.k, prepared, first_row, last_row); break;
    case Kind::INT8: Int8Map::prepare(x, m, w.k, prepared, first_row, last_row); break;
    case Kind::INT4:
    case Kind::GROUPED_INT8:
      Int4Map::prepare(x, m, w.k, w.group, prepared, first_row, last_row);
      break;
  }
}

template <class Map>
void walk(const Map& map, const panels::Output& out, int64_t first, int64_t last) {
  if constexpr (Inputs::WIDENED) {
    if (out.m > Map::MOST_ROWS) return chunks::multiply(map, out, first, last);
  }
  panels::multiply(map, out, first, last);
}

// Columns first … last of y [m, n], rounded once, when all rows of x are prepared. An output's sum
// is made in an order of its own: it depends neither on m, nor on the other rows of x, nor on which
// columns are asked for together.
inline void multiply(const Weights& w, const bf16* x, const void* prepared, int64_t m, bf16* y,
                     int64_t first, int64_t last) {
  const panels::Output out{w.bias, y, m, w.n, w.k};
  const Inputs inputs = Inputs::of(x, w.k, prepared);
  switch (w.kind) {
    case Kind::DENSE:
      walk(DenseMap{inputs, (const bf16*)w.packed, w.k}, out, first, last);
      break;
    case Kind::INT8:
      panels::multiply(Int8Map{w.packed, w.scales, m, w.k, prepared}, out, first, last);
      break;
    case Kind::INT4:
      walk(Int4Map{inputs, Int4Map::sums_of(prepared, m, w.k), (const uint8_t*)w.packed,
                               (const uint16_t*)w.scales, (const int8_t*)w.zeros, w.k, w.group},
                       out, first, last);
      break;
    case Kind::GROUPED_INT8:
      walk(
          GroupedInt8Map{inputs, Int4Map::sums_of(prepared, m, w.k), (const uint8_t*)w.packed,
                         (const float*)w.scales, (const int16_t*)w.zeros, w.k, w.group},
          out, first, last);
      break;
  }
}
