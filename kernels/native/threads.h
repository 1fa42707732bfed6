// Work shared among the threads of the OpenMP runtime that the caller has.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

// GOMP_parallel: runs a function on a number of threads, and waits for them.
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

struct Threads {
  int count;
  Parallel parallel;
};

// body(first, last) for runs of `chunk` of the items 0 … items. A thread takes a run when it has
// finished its last, so that a slow core takes fewer.
template <class Body>
void share(Threads threads, int64_t items, int64_t chunk, const Body& body) {
  if (threads.count == 1 || items <= chunk) return body((int64_t)0, items);
  struct Shared {
    const Body& body;
    int64_t items, chunk;
    std::atomic<int64_t> next{0};
  } shared{body, items, chunk};
  auto work = [](void* data) {
    Shared& shared = *(Shared*)data;
    for (;;) {
      const int64_t first = shared.next.fetch_add(shared.chunk, std::memory_order_relaxed);
      if (first >= shared.items) return;
      shared.body(first, std::min(first + shared.chunk, shared.items));
    }
  };
  threads.parallel(work, &shared, (unsigned)threads.count, 0);
}
