// One parallel region for many phases: threads that stay together, and go on when the work of a phase
// is done.
//
// Entering a region costs several microseconds, going on to the next phase about a tenth of one. A
// decode step has hundreds of phases. What is waited for is work, not threads: one that has lost its
// processor to another program while it held none is not missed, and finds later that there is
// nothing left to do. Where all threads had to meet, each meeting could cost a time slice, and a step
// on a busy machine took thirty times as long.

#pragma once

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "threads.h"

// omp_get_num_threads of the same runtime: how many threads a region was really given, which may be
// fewer than asked for.
using TeamSize = int (*)();

// Which items of a phase are taken, and how many are done. What many threads write has cache lines of
// its own.
struct alignas(64) Phase {
  std::atomic<int64_t> taken{0};  // items before this one; of equal parts, a bit each
  alignas(64) std::atomic<int64_t> done{0};
};

// What the threads of a region share.
struct Meeting {
  explicit Meeting(int64_t most_phases) : phases(most_phases) {}

  std::atomic<int> joined{0};
  std::vector<Phase> phases;
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

  // body(first, last) for runs of `chunk` of the items 0 … items, each taken by whoever is free.
  // Returns when all are done, and shows what the bodies wrote. All threads call it alike.
  template <class Body>
  void share(int64_t items, int64_t chunk, const Body& body) {
    Phase& phase = enter();
    for (;;) {
      const int64_t first = phase.taken.fetch_add(chunk, std::memory_order_relaxed);
      if (first >= items) break;
      work(phase, first, std::min(first + chunk, items), body);
    }
    await(phase, items);
  }

  // body(first, last) for equal parts of the items 0 … items, this thread's first, the same in each
  // phase: what it wrote in the last one is in its own caches. Another's only if nobody has begun it.
  // For short work that items have alike.
  template <class Body>
  void share_evenly(int64_t items, const Body& body) {
    Phase& phase = enter();
    const int parts = std::min(size_, MOST_PARTS);
    for (int i = 0; i < parts; ++i) {
      const int part = (index_ + i) % parts;
      const int64_t first = items * part / parts, last = items * (part + 1) / parts;
      if (first < last && take_part(phase, part)) work(phase, first, last, body);
    }
    await(phase, items);
  }

  // As `share`, in runs of whole units that become shorter: half of each thread's part of what is
  // left, at most `most`. Long runs at first are read in the order of memory, short ones at last
  // leave nobody waiting (guided self-scheduling; Polychronopoulos and Kuck, 1987).
  template <class Body>
  void share_guided(int64_t items, int64_t unit, int64_t most, const Body& body) {
    Phase& phase = enter();
    int64_t first = phase.taken.load(std::memory_order_relaxed);
    while (first < items) {
      const int64_t fair = (items - first) / (2 * size_) / unit * unit;
      const int64_t last = std::min(first + std::clamp(fair, unit, most), items);
      if (!phase.taken.compare_exchange_weak(first, last, std::memory_order_relaxed)) continue;
      work(phase, first, last, body);
      first = phase.taken.load(std::memory_order_relaxed);
    }
    await(phase, items);
  }

 private:
  static constexpr int SPINS = 500;
  static constexpr int MOST_PARTS = 63;  // bits of `taken`

  Phase& enter() {
    if (phase_ == meeting_.phases.size()) std::abort();  // more than the region was made for
    return meeting_.phases[phase_++];
  }

  static bool take_part(Phase& phase, int part) {
    const int64_t bit = (int64_t)1 << part;
    if (phase.taken.load(std::memory_order_relaxed) & bit) return false;
    return !(phase.taken.fetch_or(bit, std::memory_order_relaxed) & bit);
  }

  template <class Body>
  static void work(Phase& phase, int64_t first, int64_t last, const Body& body) {
    body(first, last);
    phase.done.fetch_add(last - first, std::memory_order_acq_rel);
  }

  static void await(const Phase& phase, int64_t items) {
    for (int spins = 0; phase.done.load(std::memory_order_acquire) < items; ++spins) {
      // Whoever is awaited for long has lost its processor, maybe to this thread.
      if (spins < SPINS) {
        rest();
      } else {
        sched_yield();
      }
    }
  }

  Meeting& meeting_;
  const int size_, index_;
  size_t phase_ = 0;
};

// body(team) on each thread of a region, at the same time, of at most so many phases.
template <class Body>
void together(Threads threads, TeamSize team_size, int64_t most_phases, const Body& body) {
  Meeting meeting(most_phases);
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
