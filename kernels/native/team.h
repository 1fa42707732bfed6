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

#include "threads.h"

// omp_get_num_threads of the same runtime: how many threads a region was really given, which may be
// fewer than asked for.
using TeamSize = int (*)();

// What the threads of a region share: the phase that they are at, what is taken of it, and how many of
// its items are done. What many threads write has cache lines of its own.
struct Meeting {
  std::atomic<int> joined{0};
  // The phase's number in the upper half; in the lower one the first item that nobody has taken, or a
  // bit for each part that somebody has.
  alignas(64) std::atomic<uint64_t> taken{0};
  alignas(64) std::atomic<int64_t> done{0};
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
    take_runs(items, [&](int64_t) { return chunk; }, body);
  }

  // The same, in runs of whole units that become shorter: half of each thread's part of what is left,
  // at most `most`. Long runs at first are read in the order of memory, short ones at last leave
  // nobody waiting (guided self-scheduling; Polychronopoulos and Kuck, 1987).
  template <class Body>
  void share_guided(int64_t items, int64_t unit, int64_t most, const Body& body) {
    auto length = [&](int64_t left) {
      return std::clamp(left / (2 * size_) / unit * unit, unit, most);
    };
    take_runs(items, length, body);
  }

  // body(first, last) for equal parts of the items 0 … items, this thread's first, the same in each
  // phase: what it wrote in the last one is in its own caches. Another's only if nobody has begun it.
  // For short work that items have alike.
  template <class Body>
  void share_evenly(int64_t items, const Body& body) {
    if (items == 0) return;
    const int parts = std::min(size_, MOST_PARTS);
    for (int i = 0; i < parts; ++i) {
      const int part = (index_ + i) % parts;
      const int64_t first = items * part / parts, last = items * (part + 1) / parts;
      if (first < last && take_part(part)) work(first, last, items, body);
    }
    next_phase();
  }

 private:
  static constexpr int SPINS = 500;
  static constexpr int MOST_PARTS = 32;  // bits

  // length(left): how many items a run takes of those that are left.
  template <class Length, class Body>
  void take_runs(int64_t items, const Length& length, const Body& body) {
    if (items == 0) return;
    uint64_t state = meeting_.taken.load(std::memory_order_acquire);
    while (is_open(state)) {
      const int64_t first = (uint32_t)state;
      if (first >= items) break;
      const int64_t last = std::min(first + length(items - first), items);
      if (!take(state, state + (uint64_t)(last - first))) continue;
      work(first, last, items, body);
      state = meeting_.taken.load(std::memory_order_acquire);
    }
    next_phase();
  }

  bool take_part(int part) {
    const uint64_t bit = (uint64_t)1 << part;
    uint64_t state = meeting_.taken.load(std::memory_order_acquire);
    while (is_open(state) && !(state & bit)) {
      if (take(state, state | bit)) return true;
    }
    return false;
  }

  // False, and `state` what it is by now, if another thread was first.
  bool take(uint64_t& state, uint64_t then) {
    return meeting_.taken.compare_exchange_weak(state, then, std::memory_order_acquire);
  }

  // Whether the others are still at this thread's phase. If not, its work is done.
  bool is_open(uint64_t state) const { return state >> 32 == phase_; }

  // Whoever does the last of a phase's items opens the next.
  template <class Body>
  void work(int64_t first, int64_t last, int64_t items, const Body& body) {
    body(first, last);
    const int64_t done = meeting_.done.fetch_add(last - first, std::memory_order_acq_rel);
    if (done + last - first < items) return;
    meeting_.done.store(0, std::memory_order_relaxed);
    meeting_.taken.store((uint64_t)(phase_ + 1) << 32, std::memory_order_release);
  }

  void next_phase() {
    for (int spins = 0; is_open(meeting_.taken.load(std::memory_order_acquire)); ++spins) {
      // Whoever is awaited for long has lost its processor, maybe to this thread.
      if (spins < SPINS) {
        rest();
      } else {
        sched_yield();
      }
    }
    ++phase_;
  }

  Meeting& meeting_;
  const int size_, index_;
  uint32_t phase_ = 0;
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
