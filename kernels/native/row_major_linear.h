// bfloat16 weights that lie row-major, for processors with AMX: tiles, or vectors where those are
// better. An output's sum is made in an order of its own: within one of the two, a row of y depends
// neither on the other rows of x nor on the threads.

#pragma once

#include <vector>

#include "linear_tiles.h"
#include "linear_vectors.h"
#include "product.h"
#include "team.h"

inline void row_major_linear(const Product& p, Threads threads) {
  constexpr int64_t CHUNKS_A_THREAD = 4, CHUNK_MULTIPLE = 16;  // a tile of W
  const int64_t chunk =
      (p.n / (threads.count * CHUNKS_A_THREAD) / CHUNK_MULTIPLE + 1) * CHUNK_MULTIPLE;
  if (tiles::takes(p)) {
    thread_local std::vector<bf16> room;
    room.resize((p.m + tiles::ROWS - 1) / tiles::ROWS * tiles::ROWS * p.k);
    bf16* packed = room.data();
    for (int64_t row = 0; row < p.m; row += tiles::ROWS) {
      tiles::pack(p, row, packed + row * p.k);
    }
    share(threads, p.n, chunk, [&](int64_t first, int64_t last) {
      tiles::multiply(p, packed, first, last);
    });
    return;
  }
  share(threads, p.n, chunk, [&](int64_t first, int64_t last) {
    vectors::multiply(p, first, last);
  });
}
