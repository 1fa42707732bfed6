// A token of each row of logits, as kernels/reference/sample.py defines it: in float32, sums in
// float64, a row by one thread.
//
// No sort. What top-k and min-p leave is an upper part of the row, mostly a small one, and so is what
// top-p leaves. Its border is a weight: it is found bit by bit, by summing what weighs more, which
// vectors do without a branch.

#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "exponential.h"
#include "simd.h"

namespace sampling {

// Elements whose largest, and whose sum, are kept beside the row.
constexpr int64_t BLOCK = 256;
constexpr int64_t NO_TOKEN = -1;

// What one row asks for; top_k 0, top_p 1 and min_p 0 are off.
struct Request {
  float temperature;
  int64_t top_k;
  float top_p, min_p, uniform;
};

// Tokens that may come, in the vocabulary's order; the first `count` of each.
struct Candidates {
  std::vector<int32_t> tokens;
  std::vector<float> weights;
  int64_t count;

  // For up to `most`, whose numbers may be written past `count`.
  void make_room(int64_t most) {
    if (most > (int64_t)tokens.size()) tokens.resize(most), weights.resize(most);
    count = 0;
  }

  // No branch: it could not be foreseen.
  void add(int64_t token, float weight, bool stays) {
    tokens[count] = (int32_t)token;
    weights[count] = weight;
    count += stays;
  }
};

// Memory that a thread keeps from row to row.
struct Room {
  std::vector<float> peaks;      // the largest of each block
  std::vector<float> weights;    // of the row, 1 for the likeliest token
  std::vector<double> sums;      // of each block of weights
  std::vector<float> unordered;  // where the k-th largest is looked for
  Candidates candidates;
};

// Runs `whole(i)` for vectors of x[i …] and `single(i)` for what is left of first … last.
template <class Whole, class Single>
void walk(int64_t first, int64_t last, const Whole& whole, const Single& single) {
  for (; first + LANES <= last; first += LANES) whole(first);
  for (; first < last; ++first) single(first);
}

// The largest of x, and of each block in `peaks`; a NaN or an infinity if there is one.
template <class E>
float find_peaks(const E* x, int64_t size, std::vector<float>& peaks) {
  peaks.clear();
  float most = -INFINITY;
  Ints odd = {};
  for (int64_t first = 0; first < size; first += BLOCK) {
    Sums lanes = broadcast(-INFINITY);
    float peak = -INFINITY;
    walk(
        first, std::min(first + BLOCK, size),
        [&](int64_t i) {
          const Sums values = load_wide(x + i);
          odd |= values != values;
          lanes = larger(lanes, values);
        },
        [&](int64_t i) {
          const float value = widen(x[i]);
          if (value != value) most = value;
          peak = std::max(peak, value);
        });
    for (int lane = 0; lane < LANES; ++lane) peak = std::max(peak, lanes[lane]);
    peaks.push_back(peak);
  }
  for (int lane = 0; lane < LANES; ++lane) {
    if (odd[lane]) most = NAN;
  }
  for (const float peak : peaks) most = most != most ? most : std::max(most, peak);
  return most;
}

// A row, its largest logit and one over its temperature.
template <class E>
struct Scores {
  const E* x;
  int64_t size;
  float most, inverse;

  // The token's probability over the likeliest one's; 0 below e^-87.
  float weight(int64_t token) const {
    const float scaled = (widen(x[token]) - most) * inverse;
    return scaled < -87.0f ? 0.0f : exponential(scaled);
  }
};

// Every weight, and the sum of each block; returns the sum of all.
template <class E>
double weigh(const Scores<E>& scores, Room& room) {
  room.weights.resize(scores.size);
  room.sums.clear();
  double total = 0;
  float* weights = room.weights.data();
  for (int64_t first = 0; first < scores.size; first += BLOCK) {
    Sums lanes = zero();
    float rest = 0;
    walk(
        first, std::min(first + BLOCK, scores.size),
        [&](int64_t i) {
          const Sums shifted = load_wide(scores.x + i) - scores.most;
          const Sums values = exponential(product(shifted, broadcast(scores.inverse)));
          store(weights + i, values);
          lanes += values;
        },
        [&](int64_t i) { rest += weights[i] = scores.weight(i); });
    double sum = rest;
    for (int lane = 0; lane < LANES; ++lane) sum += lanes[lane];
    room.sums.push_back(sum);
    total += sum;
  }
  return total;
}

// The first of the largest.
template <class E>
int64_t likeliest(const E* x, float most, const std::vector<float>& peaks) {
  int64_t token = BLOCK * (std::find(peaks.begin(), peaks.end(), most) - peaks.begin());
  while (widen(x[token]) != most) ++token;
  return token;
}

// The first token whose running sum is above `uniform` of the whole.
inline int64_t draw(const Room& room, int64_t size, double total, float uniform) {
  const double target = uniform * total;
  double running = 0;
  size_t block = 0;
  // The sums were added to `total` in this order, so one of them crosses the target.
  while (block + 1 < room.sums.size() && running + room.sums[block] <= target) {
    running += room.sums[block++];
  }
  int64_t last = BLOCK * block;
  for (int64_t i = last; i < std::min<int64_t>(BLOCK * (block + 1), size); ++i) {
    if (room.weights[i] == 0) continue;
    last = i;
    running += room.weights[i];
    if (running > target) break;
  }
  return last;
}

// The k-th largest of x, 0 < k < size.
template <class E>
float kth_largest(const E* x, int64_t size, int64_t k, Room& room) {
  std::vector<float>& values = room.unordered;
  values.clear();
  const auto among = [&](int64_t place) {
    std::nth_element(values.begin(), values.begin() + place, values.end(), std::greater<float>());
    return values[place];
  };
  float bound = -INFINITY;
  if (k <= (int64_t)room.peaks.size()) {
    // Peaks are k different tokens: none of the k largest is below the k-th of them.
    values = room.peaks;
    bound = among(k - 1);
    values.clear();
  }
  for (size_t block = 0; block < room.peaks.size(); ++block) {
    if (room.peaks[block] < bound) continue;
    const int64_t first = BLOCK * block, last = std::min<int64_t>(first + BLOCK, size);
    for (int64_t i = first; i < last; ++i) {
      if (widen(x[i]) >= bound) values.push_back(widen(x[i]));
    }
  }
  return among(k - 1);
}

// The sum of the weights above `least`; the less, the higher that is, whatever is rounded.
inline double mass_above(const float* weights, int64_t count, float least) {
  double lanes[LANES] = {}, rest = 0;
  for (int64_t first = 0; first < count; first += BLOCK) {
    Sums sums = zero();
    walk(
        first, std::min(first + BLOCK, count),
        [&](int64_t i) {
          const Sums values = load(weights + i);
          sums += (Sums)((Bits)values & (Bits)(values > least));
        },
        [&](int64_t i) { rest += weights[i] > least ? weights[i] : 0; });
    for (int lane = 0; lane < LANES; ++lane) lanes[lane] += sums[lane];
  }
  for (const double sum : lanes) rest += sum;
  return rest;
}

// Tokens of weights above `least` stay, and of those that weigh as much the first `ties`.
struct Border {
  float least;
  int64_t ties;
};

// The fewest of the largest weights that together reach `target`, all of them where they do not.
// weights: from 0 to 1.
inline Border nucleus(const float* weights, int64_t count, double target) {
  if (mass_above(weights, count, 0) < target) return {0, 0};
  // Positive numbers are in the order of their bits. What is above `enough` reaches the target, what
  // is above `few` does not.
  const auto number = [](uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  };
  uint32_t enough = 0, few = 0x3f800000;  // 1
  while (few - enough > 1) {
    const uint32_t middle = enough + (few - enough) / 2;
    (mass_above(weights, count, number(middle)) < target ? few : enough) = middle;
  }
  const float least = number(few);
  return {least, (int64_t)std::ceil((target - mass_above(weights, count, least)) / least)};
}

// Tokens that may come before top-p is looked at, or at least those of them that it may leave.
// Returns the sum of the weights of all that may.
template <class E>
double find_candidates(const Scores<E>& scores, const Request& asked, Room& room) {
  Candidates& found = room.candidates;
  const float min_p = std::min(asked.min_p, 1.0f);
  found.make_room(scores.size + 1);
  if (asked.top_k > 0 && asked.top_k < scores.size) {
    const float least = kth_largest(scores.x, scores.size, asked.top_k, room);
    for (size_t block = 0; block < room.peaks.size(); ++block) {
      if (room.peaks[block] < least) continue;
      const int64_t first = BLOCK * block, last = std::min<int64_t>(first + BLOCK, scores.size);
      for (int64_t i = first; i < last; ++i) {
        if (widen(scores.x[i]) < least) continue;
        const float weight = scores.weight(i);
        found.add(i, weight, weight > 0 && weight >= min_p);
      }
    }
    return mass_above(found.weights.data(), found.count, 0);
  }
  const double sum = weigh(scores, room);
  const float* weights = room.weights.data();
  if (min_p > 0) {
    for (int64_t i = 0; i < scores.size; ++i) found.add(i, weights[i], weights[i] >= min_p);
    return mass_above(found.weights.data(), found.count, 0);
  }
  // If every token weighed so little, together they would still be outside of the nucleus.
  const double small = (1 - (double)asked.top_p) * sum / scores.size;
  for (int64_t i = 0; i < scores.size; ++i) {
    found.add(i, weights[i], (weights[i] > small) | (weights[i] == 1));
  }
  return sum;
}

template <class E>
int64_t draw_filtered(const Scores<E>& scores, const Request& asked, Room& room) {
  const double total = find_candidates(scores, asked, room);
  Candidates& left = room.candidates;
  Border border = {0, 0};
  if (asked.top_p < 1) border = nucleus(left.weights.data(), left.count, asked.top_p * total);
  const int64_t before = left.count;
  double kept = 0;
  left.count = 0;
  for (int64_t i = 0; i < before; ++i) {
    const float weight = left.weights[i];
    const bool stays = weight > border.least || (weight == border.least && border.ties-- > 0);
    left.add(left.tokens[i], weight, stays);
    kept += stays ? weight : 0;
  }
  const double target = asked.uniform * kept;
  double running = 0;
  int64_t at = 0;
  while (at + 1 < left.count && (running += left.weights[at]) <= target) ++at;
  return left.count > 0 ? left.tokens[at] : NO_TOKEN;
}

// x [size], size >= 1.
template <class E>
int64_t sample(const E* x, int64_t size, const Request& asked, Room& room) {
  const float most = find_peaks(x, size, room.peaks);
  if (!std::isfinite(most)) return NO_TOKEN;
  if (asked.temperature == 0) return likeliest(x, most, room.peaks);
  const Scores<E> scores{x, size, most, std::min(1 / asked.temperature, FLT_MAX)};
  const bool cut = asked.top_k > 0 && asked.top_k < size;
  if (cut || asked.top_p < 1 || asked.min_p > 0) return draw_filtered(scores, asked, room);
  const double total = weigh(scores, room);
  return draw(room, size, total, asked.uniform);
}

}  // namespace sampling
