// One parallel region for many phases: threads that stay together and meet between phases.
//
// Entering a region costs several microseconds, a meeting of threads that spin about a tenth of
// one. A decode step has hundreds of phases.

#pragma once

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "threads.h"

// omp_get_num_threads of the same runtime: how many threads a region was really given, which may be
// fewer than asked for.
using TeamSize = int (*)();

// What the threads of a region share. Counters that many threads write have cache lines of their
// own.
struct Meeting {
  std::atomic<int> joined{0};
  alignas(64) std::atomic<int64_t> next{0};  // item of the phase that nobody has taken yet
  alignas(64) std::atomic<int> arrived{0};
  alignas(64) std::atomic<unsigned> turn{0};
};

// A moment for the processor's other thread, if it has one.
inline void rest() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// One thread's part in a meeting.
class Team {
 public:
  Team(Meeting& meeting, int size)
      : meeting_(meeting), size_(size), index_(meeting.joined.fetch_add(1)) {}

  int size() const { return size_; }

  // True of one thread.
  bool leads() const { return index_ == 0; }

  // body(first, last) for runs of `chunk` of the items 0 … items, each taken by whoever is free;
  // then a barrier, behind which everybody sees what the bodies wrote. All threads call it alike.
  template <class Body>
  void share(int64_t items, int64_t chunk, const Body& body) {
    for (;;) {
      const int64_t first = meeting_.next.fetch_add(chunk, std::memory_order_relaxed);
      if (first >= items) break;
      body(first, std::min(first + chunk, items));
    }
    barrier();
  }

  // body(first, last) with this thread's part of the items 0 … items, the same in each phase: what it
  // wrote in the last one is in its own caches. Then a barrier. For short work that items have alike.
  template <class Body>
  void share_evenly(int64_t items, const Body& body) {
    const int64_t first = items * index_ / size_, last = items * (index_ + 1) / size_;
    if (first < last) body(first, last);
    barrier();
  }

  // As `share`, in runs of whole units that become shorter: half of each thread's part of what is
  // left, at most `most`. Long runs at first are read in the order of memory, short ones at last
  // leave nobody waiting (guided self-scheduling; Polychronopoulos and Kuck, 1987).
  template <class Body>
  void share_guided(int64_t items, int64_t unit, int64_t most, const Body& body) {
    int64_t first = meeting_.next.load(std::memory_order_relaxed);
    while (first < items) {
      const int64_t fair = (items - first) / (2 * size_) / unit * unit;
      const int64_t last = std::min(first + std::clamp(fair, unit, most), items);
      if (!meeting_.next.compare_exchange_weak(first, last, std::memory_order_relaxed)) continue;
      body(first, last);
      first = meeting_.next.load(std::memory_order_relaxed);
    }
    barrier();
  }

  void barrier() {
    const unsigned turn = meeting_.turn.load(std::memory_order_relaxed);
    if (meeting_.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
      meeting_.arrived.store(0, std::memory_order_relaxed);
      meeting_.next.store(0, std::memory_order_relaxed);
      meeting_.turn.store(turn + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; meeting_.turn.load(std::memory_order_acquire) == turn; ++spins) {
      // Whoever is awaited for long may have lost its processor, maybe to this one. On a busy machine
      // every meeting waits, and what is spun away adds up; on an idle one yielding costs little.
      if (spins < SPINS) {
        rest();
      } else {
        sched_yield();
      }
    }
  }

 private:
  static constexpr int SPINS = 500;

  Meeting& meeting_;
  const int size_, index_;
};

// body(team) on each thread of a region, at the same time.
template <class Body>
void together(Threads threads, TeamSize team_size, const Body& body) {
  Meeting meeting;
  if (threads.count == 1) {
    Team alone(meeting, 1);
    return body(alone);
  }
  struct Shared {
    const Body& body;
    Meeting& meeting;
    TeamSize team_size;
  } shared{body, meeting, team_size};
  auto work = [](void* data) {
    Shared& shared = *(Shared*)data;
    Team team(shared.meeting, shared.team_size());
    shared.body(team);
  };
  threads.parallel(work, &shared, (unsigned)threads.count, 0);
}
