// Causal attention of a ragged batch's new tokens to their sequences' cached keys and values.
//
// The work is cut into blocks of query rows of one KV head: the heads of its group, token by token.
// Where a sequence has only one block a head, as a decode has, its keys are split, so that all
// threads share a long context; what the splits give is merged in their order (Flash-Decoding; Dao
// et al., 2023). Neither the cuts nor the order depend on other sequences or on threads, and so no
// result does.

#pragma once

#include "attention_few.h"
#include "attention_many.h"
#include "team.h"

namespace attention {

// The weighted means of a block's rows from what its splits gave, in their order.
template <class E>
void merge(const AttentionOf<E>& a, const Block& b, const float* partials) {
  const int64_t d = a.head_dim, stride = partial_stride(d), size = b.rows * stride;
  thread_local std::vector<float> means;
  means.resize(d);
  for (int64_t r = 0; r < b.rows; ++r) {
    const float* row = partials + r * stride;
    E* out = a.out + row_at(a, b, r, a.kv_heads * a.group * d);
    if (b.splits == 1) {
      const float norm = 1 / row[d + 1];
#pragma omp simd
      for (int64_t i = 0; i < d; ++i) put(out[i], row[i] * norm);
      continue;
    }
    float most = row[d], sum = 0;
    for (int64_t s = 1; s < b.splits; ++s) most = std::max(most, row[s * size + d]);
    std::fill(means.begin(), means.end(), 0.0f);
    for (int64_t s = 0; s < b.splits; ++s) {
      const float* part = row + s * size;
      const float share = exponential((part[d] - most) * a.scale);
      sum += part[d + 1] * share;
#pragma omp simd
      for (int64_t i = 0; i < d; ++i) means[i] += part[i] * share;
    }
    const float norm = 1 / sum;
#pragma omp simd
    for (int64_t i = 0; i < d; ++i) put(out[i], means[i] * norm);
  }
}

// Split s of a block, to partial results [splits, rows].
template <class E, class Cache>
void attend_split(const AttentionOf<E>& a, const Cache& cache, const Block& b, int64_t s,
                  float* partials) {
  float* partial = partials + s * b.rows * partial_stride(a.head_dim);
  if (b.rows <= FEW) {
    attend_few(a, cache, b, b.split(s), partial);
  } else {
    attend_many(a, cache, b, b.split(s), partial);
  }
}

// body(block) for each block of one KV head of a sequence.
template <class E, class Body>
void each_block(const AttentionOf<E>& a, int64_t sequence, int64_t head, const Body& body) {
  const int64_t tokens = a.starts ? a.starts[sequence + 1] - a.starts[sequence] : 1;
  const int64_t past = a.lengths[sequence] - tokens, all = tokens * a.group;
  // The last rows see most: they come first, so that what is done last is short.
  for (int64_t row0 = (all - 1) / MANY * MANY; row0 >= 0 && row0 < all; row0 -= MANY) {
    const int64_t rows = std::min(MANY, all - row0);
    const int64_t first = past + row0 / a.group, end = past + (row0 + rows - 1) / a.group + 1;
    Block b{sequence, head, row0, rows, past, std::max<int64_t>(0, first - a.window + 1), end};
    if (all <= MANY || rows <= FEW) b.splits = (b.end_key - b.first_key + SPLIT - 1) / SPLIT;
    body(b);
  }
}

// What a batch's attention consists of, in the order that threads take it: the splits of all blocks.
// One plan serves every layer.
class Work {
 public:
  // Of sequences 0 … sequences.
  template <class E>
  void plan(const AttentionOf<E>& a, int64_t sequences) {
    blocks_.clear();
    splits_.clear();
    int64_t room = 0;
    for (int64_t i = 0; i < sequences * a.kv_heads; ++i) {
      each_block(a, i / a.kv_heads, i % a.kv_heads, [&](Block b) {
        for (int64_t s = 0; s < b.splits; ++s) splits_.push_back({(int64_t)blocks_.size(), s});
        b.unfinished = (int)b.splits;
        b.partials = room;
        if (b.splits > 1) room += b.splits * b.rows * partial_stride(a.head_dim);
        blocks_.push_back(b);
      });
    }
    partials_.resize(room);
  }

  int64_t size() const { return (int64_t)splits_.size(); }

  // Split i, by the calling thread.
  template <class E, class Cache>
  void attend(const AttentionOf<E>& a, const Cache& cache, int64_t i) {
    Block& b = blocks_[splits_[i].block];
    if (b.splits == 1) {
      thread_local std::vector<float> partials;
      partials.resize(b.rows * partial_stride(a.head_dim));
      attend_split(a, cache, b, 0, partials.data());
      merge(a, b, partials.data());
      return;
    }
    float* partials = partials_.data() + b.partials;
    attend_split(a, cache, b, splits_[i].index, partials);
    // Whoever finishes a block's last split sees what the others wrote.
    if (__atomic_sub_fetch(&b.unfinished, 1, __ATOMIC_ACQ_REL)) return;
    b.unfinished = (int)b.splits;
    merge(a, b, partials);
  }

 private:
  struct Split {
    int64_t block, index;
  };
  std::vector<Block> blocks_;
  std::vector<Split> splits_;
  std::vector<float> partials_;
};

// All sequences, by all threads: each takes a split when it has finished its last.
template <class E, class Cache>
void attend_all(const AttentionOf<E>& a, const Cache& cache, int64_t sequences, Threads threads) {
  thread_local Work callers;
  Work& work = callers;  // not that of the thread that uses it
  work.plan(a, sequences);
  share(threads, work.size(), 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) work.attend(a, cache, i);
  });
}

}  // namespace attention
