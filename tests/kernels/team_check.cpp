// Phases of random work by random numbers of threads, some of which dawdle: every item of each is done
// once, in runs of whole units, and what one phase wrote the next one sees. argv: a seed. Built with
// ThreadSanitizer, it finds what is read and written without order as well.

#include "team.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

namespace {

// As a runtime that grants fewer threads than it is asked for.
void fewer(void (*work)(void*), void* data, unsigned threads, unsigned) {
  std::vector<std::thread> others;
  for (unsigned i = threads > 2 ? 2 : 1; i < threads; ++i) others.emplace_back(work, data);
  work(data);
  for (std::thread& other : others) other.join();
}

// As one whose threads come when the first has gone: it does everything, and they find it done.
void one_after_the_other(void (*work)(void*), void* data, unsigned threads, unsigned) {
  for (unsigned i = 0; i < threads; ++i) work(data);
}

struct Phase {
  bool evenly;
  int64_t items, unit, most;
  uint32_t dawdles;  // one run in so many
  std::vector<int> done;
  int ended = 0;
};

void fail(const char* what, const Phase& phase, int64_t at) {
  std::fprintf(stderr, "%s: item %ld of %ld, unit %ld, most %ld\n", what, (long)at,
               (long)phase.items, (long)phase.unit, (long)phase.most);
  std::_Exit(1);
}

void expect_done(const Phase& phase) {
  for (int64_t i = 0; i < phase.items; ++i) {
    if (phase.done[i] != 1) fail("not done once", phase, i);
  }
}

void work_on(Phase& phase, const Phase* before, Team& team) {
  auto body = [&](int64_t first, int64_t last) {
    if (before) expect_done(*before);
    if (first >= last || last > phase.items) fail("no items", phase, first);
    if (!phase.evenly && (first % phase.unit || (last % phase.unit && last != phase.items) ||
                          last - first > std::max(phase.most, phase.unit))) {
      fail("not whole units, or too many", phase, first);
    }
    if (phase.dawdles && first % phase.dawdles == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
    for (int64_t i = first; i < last; ++i) ++phase.done[i];
  };
  if (phase.evenly) {
    team.share_evenly(phase.items, body);
  } else {
    team.share(phase.items, phase.unit, phase.most, body, [&] {
      expect_done(phase);
      ++phase.ended;
    });
  }
  expect_done(phase);
  if (phase.ended != (!phase.evenly && phase.items)) fail("not ended once", phase, phase.ended);
}

// All phases, by a random number of threads.
void work_together(std::vector<Phase>& phases, int threads, Parallel parallel) {
  std::atomic<int> leaders{0};
  together({threads, parallel}, [&](Team& team) {
    leaders += team.leads();
    const Phase* before = nullptr;
    for (Phase& phase : phases) {
      work_on(phase, before, team);
      before = &phase;
    }
  });
  for (const Phase& phase : phases) expect_done(phase);
  if (leaders != 1) fail("not one leader", phases[0], leaders);
}

}  // namespace

int main(int, char** argv) {
  std::mt19937 random((unsigned)std::atoi(argv[1]));
  auto up_to = [&](int most) { return (int64_t)(random() % (most + 1)); };
  for (int round = 0; round < 60; ++round) {
    std::vector<Phase> phases;
    for (int i = 0; i < 40; ++i) {
      const int64_t items = up_to(3) ? up_to(300) : up_to(5);
      const uint32_t dawdles = up_to(4) ? 0 : 1 + (uint32_t)up_to(6);
      phases.push_back({up_to(2) == 0, items, 1 + up_to(40), 1 + up_to(100), dawdles,
                        std::vector<int>(items)});
    }
    work_together(phases, (int)(1 + up_to(7)), round % 10 ? fewer : one_after_the_other);
  }
  // As many as a large model has, or a large vocabulary, and more.
  std::vector<Phase> many(3000, {false, 3, 1, 1, 0, std::vector<int>(3)});
  work_together(many, 3, fewer);
  std::vector<Phase> large(2, {false, 100000, 1, 16, 0, std::vector<int>(100000)});
  work_together(large, 3, fewer);
}
