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

// GOMP_parallel of the OpenMP runtime that the caller has: runs a function on a number of threads, and
// waits for them.
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

struct Threads {
  int count;
  Parallel parallel;
};

// What the threads of a region share: of each thread's part of a phase the units that are left, which
// phase they are at, and how many of its units are done. What many threads write has cache lines of its
// own.
struct Meeting {
  explicit Meeting(int threads) : parts(threads) {}

  struct alignas(64) Part {
    // From the upper bits: the last phase in which anything of it was taken, and the first and the end
    // of what nobody had taken then.
    std::atomic<uint64_t> state{0};
  };

  std::vector<Part> parts;
  alignas(64) std::atomic<int> joined{0};
  alignas(64) std::atomic<uint32_t> phase{1};
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

// Nothing to do when a phase ends.
inline void pass() {}

// One thread of a meeting.
//
// Of the work of a phase each thread has an equal part, the same in phases alike, and takes it run by run
// from its beginning: it reads long stretches of memory in order, what it asks for ahead is what it reads
// next, and lies in its own caches. Who has no more takes from the end of another's part (work stealing;
// Blumofe and Leiserson, 1999).
class Team {
 public:
  explicit Team(Meeting& meeting)
      : meeting_(meeting), size_((int)meeting.parts.size()), index_(meeting.joined.fetch_add(1)) {}

  // True of one thread.
  bool leads() const { return index_ == 0; }

  // body(first, last) for runs of whole units of the items 0 … items: half of what is left of a part, at
  // most `most` items. Long runs at first, short ones at last leave nobody waiting (guided
  // self-scheduling; Polychronopoulos and Kuck, 1987). Returns when all are done, and shows what the
  // bodies wrote. All threads call it alike. ended(): called once, by whoever does the last of it, before
  // anybody goes on.
  template <class Body, class Ended = void (*)()>
  void share(int64_t items, int64_t unit, int64_t most, const Body& body, const Ended& ended = pass) {
    const int64_t longest = std::max<int64_t>(1, most / unit);
    auto length = [&](int64_t left) { return std::clamp<int64_t>(left / 2, 1, longest); };
    auto run = [&](int64_t first, int64_t last) { body(first * unit, std::min(last * unit, items)); };
    share_units((items + unit - 1) / unit, length, run, ended);
  }

  // The same for whole parts, of short work that items have alike.
  template <class Body>
  void share_evenly(int64_t items, const Body& body) {
    share_units(items, [](int64_t left) { return left; }, body, pass);
  }

 private:
  struct Range {
    int64_t first, end;
  };

  static constexpr int SPINS = 500;
  static constexpr int BITS = 24;  // of a unit's number; the others are the phase's
  static constexpr uint64_t MOST_UNITS = ((uint64_t)1 << BITS) - 1;
  static constexpr uint64_t MOST_PHASES = ((uint64_t)1 << (64 - 2 * BITS)) - 1;

  // length(left): how many units a run takes of those that are left of a part.
  template <class Length, class Body, class Ended>
  void share_units(int64_t units, const Length& length, const Body& body, const Ended& ended) {
    if (units == 0) return;
    // Of a step thousands, and hundreds: what more would mean is not work.
    if ((uint64_t)units > MOST_UNITS || phase_ > MOST_PHASES) std::abort();
    for (int i = 0; i < size_ && is_open(); ++i) {
      const int part = (index_ + i) % size_;
      const Range all{units * part / size_, units * (part + 1) / size_};
      int64_t done = 0;
      Range run;
      while (take(meeting_.parts[part].state, all, i > 0, length, run)) {
        body(run.first, run.end);
        done += run.end - run.first;
      }
      if (done) finish(done, units, ended);
    }
    next_phase();
  }

  // A run of a part that is `all` when the phase begins, from its end or from its beginning. False if
  // nothing is left: so too if the others are at a later phase, for then all of this one was taken.
  template <class Length>
  bool take(std::atomic<uint64_t>& part, Range all, bool from_end, const Length& length, Range& run) {
    uint64_t state = part.load(std::memory_order_relaxed);
    for (;;) {
      const uint64_t phase = state >> 2 * BITS;
      Range left = all;
      if (phase >= phase_) left = {(int64_t)(state >> BITS & MOST_UNITS), (int64_t)(state & MOST_UNITS)};
      if (phase > phase_ || left.first >= left.end) return false;
      const int64_t count = length(left.end - left.first);
      run = from_end ? Range{left.end - count, left.end} : Range{left.first, left.first + count};
      (from_end ? left.end : left.first) = from_end ? run.first : run.end;
      const uint64_t then = (uint64_t)phase_ << 2 * BITS | (uint64_t)left.first << BITS | left.end;
      if (part.compare_exchange_weak(state, then, std::memory_order_relaxed)) return true;
    }
  }

  // Whoever does the last of a phase's units opens the next.
  template <class Ended>
  void finish(int64_t count, int64_t units, const Ended& ended) {
    if (meeting_.done.fetch_add(count, std::memory_order_acq_rel) + count < units) return;
    ended();
    meeting_.done.store(0, std::memory_order_relaxed);
    meeting_.phase.store(phase_ + 1, std::memory_order_release);
  }

  // Whether the others are still at this thread's phase. If not, its work is done, and can be seen.
  bool is_open() const { return meeting_.phase.load(std::memory_order_acquire) == phase_; }

  void next_phase() {
    for (int spins = 0; is_open(); ++spins) {
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
  uint32_t phase_ = 1;
};

// body(team) on each thread of a region, at the same time. A runtime may grant fewer threads than it is
// asked for: the parts of those that are missing are taken by the others.
template <class Body>
void together(Threads threads, const Body& body) {
  Meeting meeting(threads.count);
  if (threads.count == 1) {
    Team alone(meeting);
    return body(alone);
  }
  struct Shared {
    const Body& body;
    Meeting& meeting;
  } shared{body, meeting};
  auto work = [](void* data) {
    Shared& shared = *(Shared*)data;
    Team team(shared.meeting);
    shared.body(team);
  };
  threads.parallel(work, &shared, (unsigned)threads.count, 0);
}

// body(first, last) for runs of `chunk` of the items 0 … items: one phase, and nothing else.
template <class Body>
void share(Threads threads, int64_t items, int64_t chunk, const Body& body) {
  if (threads.count == 1 || items <= chunk) return body((int64_t)0, items);
  together(threads, [&](Team& team) { team.share(items, chunk, chunk, body); });
}
