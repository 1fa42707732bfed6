// Linear maps for a few rows: y = x · Wᵀ + bias, a run of y's columns at a time.

#pragma once

#include <cstddef>
#include <cstdint>

#include "linear_vectors.h"
#include "product.h"

namespace linear {

enum class Kind : int { DENSE, INT8, INT4 };

// W [n, k]. DENSE: packed is bfloat16, row-major.
struct Weights {
  Kind kind;
  const void* packed;
  const void* scales;
  const void* zeros;
  const bf16* bias;  // [n] or null
  int64_t n, k, group;
};

// Runs of columns begin at multiples of this.
inline int64_t column_chunk(const Weights&) { return 16; }

// Room that `prepare` fills for m rows.
inline int64_t prepared_bytes(const Weights&, int64_t) { return 0; }

// What all columns need of rows first_row … last_row of x [m, k].
inline void prepare(const Weights&, const bf16*, int64_t, void*, int64_t, int64_t) {}

// Columns first … last of y [m, n].
inline void multiply(const Weights& w, const bf16* x, const void*, int64_t m, bf16* y,
                     int64_t first, int64_t last) {
  vectors::multiply({x, (const bf16*)w.packed, w.bias, y, m, w.n, w.k}, first, last);
}

}  // namespace linear
