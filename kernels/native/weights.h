// A linear map y = x · Wᵀ + bias with weights packed once, in one of seven kinds: what a kernel that
// runs inside a larger parallel region calls. kernels/native/packed.py packs them.

#pragma once

#include <cstdint>

#include "chunks.h"
#include "dense.h"
#include "fp4.h"
#include "fp8.h"
#include "panels.h"
#include "w4a16.h"
#include "w4a8.h"
#include "w8a16.h"
#include "w8a8.h"

enum class Kind : int { DENSE, W8A8, W4A16, W8A16, FP8, FP4, W4A8 };

// W [n, k], bias [n] or null, group: the inputs that share a scale, of kinds that have groups. What
// `packed`, `scales` and `others` point to, the header of each kind says. The layout is that of
// `NativeWeights` in Python.
struct Weights {
  Kind kind;
  const void* packed;
  const void* scales;
  const void* others;  // zeros, of FP8 the scale of all x or null, of FP4 the factors of rows
  const bf16* bias;
  int64_t n, k, group;
};

// Columns of y, for m rows, that a thread takes at once are whole multiples of this; the last may be
// fewer. Panels that go two by two for so few rows are not parted.
inline int64_t column_chunk(const Weights& w, int64_t m) {
  const bool nibbles = w.kind == Kind::W4A16 || w.kind == Kind::FP4;
  const bool paired = nibbles && m <= W4A16Map::PAIRED_ROWS;
  return (paired ? 2 : 1) * panels::COLUMNS;
}

// Bytes of scratch, aligned to 64, that `prepare` writes for m rows of x; 0: it need not be called.
inline int64_t prepared_bytes(const Weights& w, int64_t m) {
  switch (w.kind) {
    case Kind::DENSE:
    case Kind::FP4: return Inputs::prepared_bytes(m, w.k);
    case Kind::W8A8: return W8A8Map::prepared_bytes(m, w.k);
    case Kind::W4A16:
    case Kind::W8A16: return InputSums::prepared_bytes(m, w.k, w.group);
    case Kind::FP8: return Fp8Inputs::prepared_bytes(m, w.k, w.group);
    case Kind::W4A8: return CodedInputs::prepared_bytes(m, w.k, w.group);
  }
  return 0;
}

// Rows first_row … last_row of x [m, k] in the form that the kind multiplies.
inline void prepare(const Weights& w, const bf16* x, int64_t m, void* prepared, int64_t first_row,
                    int64_t last_row) {
  switch (w.kind) {
    case Kind::DENSE:
    case Kind::FP4: Inputs::prepare(x, w.k, prepared, first_row, last_row); break;
    case Kind::W8A8: W8A8Map::prepare(x, m, w.k, prepared, first_row, last_row); break;
    case Kind::W4A16:
    case Kind::W8A16:
      InputSums::prepare(x, m, w.k, w.group, prepared, first_row, last_row);
      break;
    case Kind::FP8:
      Fp8Inputs::prepare(x, m, w.k, w.group, (const float*)w.others, prepared, first_row, last_row);
      break;
    case Kind::W4A8:
      CodedInputs::prepare(x, m, w.k, w.group, prepared, first_row, last_row);
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
    case Kind::W8A8:
      panels::multiply(W8A8Map{w.packed, w.scales, m, w.k, prepared}, out, first, last);
      break;
    case Kind::W4A16: {
      const auto sums = InputSums::behind(prepared, m, w.k, w.group);
      const W4A16Groups groups{sums, (const uint16_t*)w.scales, (const int8_t*)w.others};
      walk(W4A16Map{inputs, (const uint8_t*)w.packed, groups, w.k, w.group}, out, first, last);
      break;
    }
    case Kind::W8A16: {
      const auto sums = InputSums::behind(prepared, m, w.k, w.group);
      const W8A16Groups groups{sums, (const float*)w.scales, (const int16_t*)w.others};
      walk(W8A16Map{inputs, (const uint8_t*)w.packed, groups, w.k, w.group}, out, first, last);
      break;
    }
    case Kind::FP8: {
      const auto codes = Fp8Inputs::of(prepared, m, w.k, w.group);
      const Fp8Groups groups{codes, (const float*)w.scales};
      const int64_t k = codes.codes.stride, group = codes.groups == 1 ? k : w.group;
      walk(Fp8Map{codes.codes, (const uint8_t*)w.packed, groups, k, group}, out, first, last);
      break;
    }
    case Kind::FP4: {
      const Fp4Groups groups{(const bf16*)w.scales, (const float*)w.others, w.k / w.group};
      walk(Fp4Map{inputs, (const uint8_t*)w.packed, groups, w.k, w.group}, out, first, last);
      break;
    }
    case Kind::W4A8: {
      const auto codes = CodedInputs::of(prepared, m, w.k, w.group);
      const W4A8Map map{codes, (const uint8_t*)w.packed, (const uint16_t*)w.scales,
                        (const int8_t*)w.others, w.k, w.group};
      panels::multiply(map, out, first, last);
      break;
    }
  }
}
